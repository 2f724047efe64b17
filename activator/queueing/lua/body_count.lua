-- KEYS: index, sum, sum of the jobs. Returns the endpoint's bytes.
return settle(KEYS[1], KEYS[2], 0, now_ms()) + tonumber(redis.call('GET', KEYS[3]) or '0')
