"""Customers of the shop: each logs in, orders, and looks at the orders."""
import sys, threading
import requests

shop = sys.argv[1]


def customer(name):
    with requests.Session() as s:
        token = s.post(shop + "/login", json={"user": name}).json()["token"]
        s.headers["Authorization"] = "Bearer " + token
        for item in ["tea", "coffee", "cup"]:
            order = s.post(shop + "/orders", json={"item": item}).json()
            assert s.get(shop + "/orders/" + order["id"]).json()["item"] == item


all = [threading.Thread(target=customer, args=("customer-%d" % i,)) for i in range(5)]
[t.start() for t in all]
[t.join() for t in all]
