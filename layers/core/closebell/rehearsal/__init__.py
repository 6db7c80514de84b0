"""The desk's days rehearsed: the production use cases on a seeded market, in one thread, with faults at every port.

Nothing of production is changed or mocked: only ports are replaced. The exchange keeps a hidden book, the checker reads that
book and the raw journal and never closebell's own summaries.
"""
