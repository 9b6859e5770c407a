from envkit.testing import PackConformance


class TestTable(PackConformance):
    pack = "table"
