from envkit.testing import PackConformance


class TestShop(PackConformance):
    pack = "shop"
