"""From a workload to requests sent to a server, and back to a workload: what the server did.

`plan` takes the requests of a workload and says when each is to be sent, `prompts` writes their texts, `endpoints`
knows the dialects of servers, `drive` sends and measures, `journal` keeps what was measured and makes a workload of it.
"""
