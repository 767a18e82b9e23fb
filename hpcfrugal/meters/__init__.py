"""Power meters of whole nodes that are read apart from the job: by a query after it, or by an operator's agent.

What they say goes into the run directory at sync, in the format of the sidecar's records, so that the ledger stays a
function of the spool. The boundary is always ``node``: shown beside the components, never added to them.
"""
