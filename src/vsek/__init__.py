"""vsek: telephone system of an answering service on Asterisk."""
