from envkit.testing import PackConformance


class TestShop(PackConformance):
    pack = "shop"
    tasks = 4  # of each split; test_tasks.py looks at hundreds, without opening a world
