"""Answer questions in Arabic from a list of frequent ones.

    python examples/arabic_faq.py
    python examples/arabic_faq.py "كم يوم ياخذ التوصيل؟"

A question is found by its meaning, in other words or another language, and by its words: letters
that are often confused (أ إ آ ا, ة ه, ى ي), vowel marks and the article make no difference.
"""

from __future__ import annotations

import argparse
import tempfile

import nestling

FAQ = {  # by topic
    "شحن": {
        "كم تستغرق مدة التوصيل؟": "يصل الطلب خلال ثلاثة أيام داخل المدن، وخمسة أيام خارجها.",
        "هل تشحنون إلى خارج البلاد؟": "نعم، إلى جميع الدول العربية ومعظم دول أوروبا.",
    },
    "إرجاع": {
        "كيف أُعيد منتجًا اشتريته؟": "يمكنك إرجاعه خلال أربعة عشر يومًا من تاريخ استلامه.",
        "متى أسترد المبلغ بعد الإرجاع؟": "يعود إلى بطاقتك خلال أسبوع من وصول المنتج إلينا.",
    },
    "دفع": {
        "ما طرق الدفع المتاحة؟": "البطاقات البنكية والتحويل المصرفي والدفع عند الاستلام.",
    },
    "حساب": {
        "كيف أغيّر كلمة المرور؟": "افتح صفحة الحساب، ثم اختر الأمان، ثم تغيير كلمة المرور.",
    },
    "ضمان": {
        "هل الأجهزة مكفولة؟": "جميع الأجهزة مكفولة سنة كاملة ضد عيوب الصناعة.",
    },
}
QUESTIONS = [
    "نسيت الرقم السري وأريد رقمًا جديدًا",  # by meaning: no word in common
    "كيف اعيد المنتج",  # by words, written without hamza and vowel marks
    "Can I pay in cash?",  # in another language
]


def main() -> None:
    """Fills a collection with the questions and answers, and asks it."""
    parser = argparse.ArgumentParser(description="Answer questions in Arabic from a list.")
    parser.add_argument("questions", nargs="*", default=QUESTIONS, help="what to ask")
    parser.add_argument("--topic", help="one of: شحن، إرجاع، دفع، حساب، ضمان")
    parser.add_argument("--model", default="e5", help="a multilingual model")
    options = parser.parse_args()
    records = [
        {"title": question, "text": answer, "metadata": {"topic": topic}}
        for topic, answers in FAQ.items()
        for question, answer in answers.items()
    ]
    where = {"topic": options.topic} if options.topic else None
    with (
        tempfile.TemporaryDirectory() as folder,
        nestling.Collection(folder, options.model, fields=["topic"]) as faq,
    ):
        faq.add(records)
        for question in options.questions:
            print(question)
            for hit in faq.search(question, k=1, where=where, mode="hybrid"):
                print(f"  {hit.score:.3f}  {hit.title}\n         {hit.text}")
            print()


if __name__ == "__main__":
    main()
