"""How a chat is put into each API's own form."""
