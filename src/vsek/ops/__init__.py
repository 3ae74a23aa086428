"""What both services need in order to be watched: health, metrics, probes, systemd."""
