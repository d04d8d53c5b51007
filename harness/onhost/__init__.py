"""What runs on the hosts: `nohype-host`, standard library alone, so that a host needs Python and nothing of ours.

It is bundled as a zipapp, so modules import each other relatively and nothing else of the harness. Every import costs
about 30 times more on an emulated host; modules are therefore imported by the subcommand that needs them.
"""
