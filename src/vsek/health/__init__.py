"""How a process is: probed (database, disks), and told (health, metrics, the supervisor)."""
