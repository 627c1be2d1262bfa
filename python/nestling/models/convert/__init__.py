"""Conversion of published weights to ONNX graphs, without torch."""

from nestling.models.convert.builtin import BERTS, bert_weights, convert

__all__ = ["BERTS", "bert_weights", "convert"]
