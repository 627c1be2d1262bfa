"""Conversion of published weights to ONNX graphs, without torch."""

from nestling.models.convert.builtin import BERTS, bert_weights, convert
from nestling.models.convert.conversion import Conversion, convert_folder
from nestling.models.convert.families import supported

__all__ = ["BERTS", "Conversion", "bert_weights", "convert", "convert_folder", "supported"]
