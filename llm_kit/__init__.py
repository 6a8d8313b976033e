"""Stream LLM chats: normalised chunks, partial results that survive, and a stop that works."""
