from envkit.testing import PackConformance
from envkit.testing.memory import MemoryConformance


class TestRecall(PackConformance):
    pack = "recall"


class TestMemoryCounts(MemoryConformance):
    spec = "recall/fact?level=hard"
