"""Power meters of whole nodes, read apart from the job: by a query after it, or all the time by an operator's agent.

At sync their samples go into the run directory, in the format of the sidecar's records, so that the ledger can be
rebuilt from the spool. The boundary is always ``node``: shown beside the components, never added to them.
"""
