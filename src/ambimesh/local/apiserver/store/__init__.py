"""Objects as immutable bytes in memory, in SQLite for durability, with history for watches."""
