"""The note service: takes notes over HTTP, keeps them in its outbox, sends them by mail.

Modules: ``api`` (HTTP) → ``database`` (notes and outbox) → ``outbox`` (who is sent what and when,
with ``retry`` deciding) → ``render`` and ``mail`` (what the client reads) → ``smtp``. ``drafts`` is
what agents write before a note leaves, ``forwarder`` fetches those that are due. ``client`` is for
those who call the API. ``service.serve`` runs it all. See docs/notes.md.
"""
