"""Grafana dashboards as typed code. `python -m dashboards` writes dashboards/json/ anew; those files are committed."""
