"""PostgreSQL: the pool, migrations, and one module per aggregate with its SQL beside the code."""
