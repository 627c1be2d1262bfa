"""A model folder, run: texts → tokens → batches → ONNX Runtime → pooled embeddings."""

__all__: list[str] = []
