"""What the control node tells Prometheus: progress, results, the harness itself; now and in hindsight."""
