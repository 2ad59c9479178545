"""Being a guest in the process of a user: settings changed only while needed, memory, modules loaded on first use."""
