"""The PBX beside ARI's calls: SIP accounts, sounds, manager interface, doctor."""
