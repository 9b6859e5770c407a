from envkit.testing import PackConformance


class TestDesk(PackConformance):
    pack = "desk"
