"""HTTP/1.1 on a socket, both roles, no policy: strict parsing, framing, limits, the raw tunnel.

Lives here: what a message is and how its bytes travel. Lives elsewhere: what to do with it
(`proxy` towards clients, `upstream` towards model servers).
"""
