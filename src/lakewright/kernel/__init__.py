"""What every kind of object gets for nothing: identity, permission, audit, storage, events, HTTP.

Nothing in here knows any kind by name. Reading order: `operation` (the one door), `rules`, `kinds`, `objects`,
then `writer` (how a request becomes durable) and `http` (how it arrives).
"""
