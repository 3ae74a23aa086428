"""Real peers under control: softphones, callers and a mail server, and the demo made of them.

``vsek demo`` and the acceptance tests drive the system from outside with these, over the
network and as anybody else would: baresip as the agents' phones, SIPp and a small caller of our
own as the public network, an SMTP server as the clients' mailbox.
"""
