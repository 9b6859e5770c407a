from envkit.testing import PackConformance


class TestStarter(PackConformance):
    pack = "starter"
    tasks = 32
