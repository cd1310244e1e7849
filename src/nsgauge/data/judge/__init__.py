"""The LLM judge: asked through any OpenAI-compatible endpoint, every answer kept."""
