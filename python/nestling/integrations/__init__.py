"""Collections as stores of LangChain, LlamaIndex and Haystack.

Each module needs the extra of its name: `nestling.integrations.langchain` the extra `langchain`,
`nestling.integrations.llama_index` the extra `llama-index`, `nestling.integrations.haystack` the
extra `haystack`. They translate calls, filters and results; `nestling.Collection` does the work.
"""

__all__: list[str] = []
