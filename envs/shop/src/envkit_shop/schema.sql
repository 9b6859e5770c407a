-- Money is in cents. Ages are in days before the episode's now, so that a task is the same on any day.
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    city TEXT NOT NULL
);
CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    sku TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    price INTEGER NOT NULL CHECK (price > 0),
    stock INTEGER NOT NULL CHECK (stock >= 0),
    final_sale INTEGER NOT NULL DEFAULT 0,
    blurb TEXT NOT NULL
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    customer_id INTEGER REFERENCES customers (id),
    status TEXT NOT NULL,
    age_days INTEGER NOT NULL,       -- since it was placed
    delivered_days INTEGER,          -- since it was delivered; NULL: not yet
    name TEXT NOT NULL,
    street TEXT NOT NULL,
    postcode TEXT NOT NULL,
    city TEXT NOT NULL,
    shipping TEXT NOT NULL,
    coupon TEXT,
    total INTEGER NOT NULL
);
CREATE TABLE order_items (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    price INTEGER NOT NULL           -- of one, when it was ordered
);
CREATE TABLE refunds (
    id TEXT NOT NULL PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders (id),
    item_id INTEGER NOT NULL REFERENCES order_items (id),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    amount INTEGER NOT NULL CHECK (amount > 0)
);
CREATE TABLE tickets (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    status TEXT NOT NULL,            -- open, refunded, declined
    reason TEXT                      -- why it was declined
);
CREATE TABLE coupons (
    code TEXT NOT NULL PRIMARY KEY,
    percent INTEGER NOT NULL,
    minimum INTEGER NOT NULL
);
CREATE TABLE cart (
    product_id INTEGER PRIMARY KEY REFERENCES products (id),
    quantity INTEGER NOT NULL CHECK (quantity > 0)
);
CREATE TABLE deliveries (
    id TEXT NOT NULL PRIMARY KEY,
    note TEXT NOT NULL,              -- the supplier's delivery note
    sku TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0)
);
