"""The howsure service: HTTP in front of checkpoints. Read `main.py` first."""
