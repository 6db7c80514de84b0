"""One builder a function: settings and adapters in, the use case out. Built once a process; nothing is built at import."""
