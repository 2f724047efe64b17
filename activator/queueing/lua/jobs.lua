-- The jobs of one endpoint: what core/jobs.py decides, with everything that hangs on a job, atomically.
-- Every script of this store begins with this file, and touches keys of one endpoint only.
--
-- KEYS  base, and the sums of the bytes of this endpoint's held bodies and of its jobs (redis_budget.py)
--       base is PREFIX:{ENDPOINT}:jobs; under it
--       job:ID    HASH    the fields below; what is at its default is not there
--       env:ID    STRING  envelope (queueing/codec.py)
--       body:ID   LIST    pieces of the body; before there is a job it expires by itself
--       out:ID    LIST    the answer: its head (queueing/codec.py), then chunks
--       ev:ID     LIST    the latest events, "ATTEMPT-SEQ\tTIME\tKIND\tDETAIL"
--       key:SCOPE STRING  the job that an idempotency key stands for
--       line      ZSET    may be claimed, by place | later  by the moment at which they may be
--       held      ZSET    claimed and not begun, by place
--       awaited   SET     in any of these lines and not detached
--       all       ZSET    every job, by creation   | due    by when time may change it
--       hooks     ZSET    whose webhook is to be called, by when
--       up        HASH    bodies without a job yet -> bytes
--       meta      HASH    "age", "n:STATE" -> jobs in it
--       acts      SET     activators that have one of: claims:ACTIVATOR, reads:ACTIVATOR (SETs of ids)
-- ARGV  seconds to add to the clock, activator, ttl, retention, attempts, joinGrace, then each script's own
--
-- Channels: told (of the line: "w\tQUEUED"; "a", one more in acts; to the holder of a job: "l\tACTIVATOR\tID" it is
-- lost, "d\t…" it is detached) and told:ID (of a job: nothing but that).
-- Every key has an expiry: those of a job beyond its life, the others beyond every job's, and later
-- with each sweep. So nothing stays of an endpoint that nobody serves any more.

local call = redis.call
local base, bytes, me = KEYS[1], KEYS[3], ARGV[2]
local ttl, retention = tonumber(ARGV[3]), tonumber(ARGV[4])
local attempts, grace = tonumber(ARGV[5]), tonumber(ARGV[6])
local VERSION, EVENTS, SPARE_MS, OVERHEAD = '1', 64, 86400000, 1024
local STRICT = 1e10
local LIFE_MS = math.ceil((ttl + retention) * 1000) + 2 * SPARE_MS

local clock = call('TIME')
local now = clock[1] + clock[2] / 1e6 + tonumber(ARGV[1])

local FIELDS = {
  'v', 's', 'a', 'fa', 'c', 'x', 'u', 'ar', 'd', 'h', 'lh', 'nb', 'b', 'en', 'st', 'r', 'dt', 'rd', 'un', 't',
  'bb', 'ob', 'rm', 'k', 'f', 'hk', 'ht', 'tr',
}
local SHOWN = 22  -- of these are told to whoever asks
local TEXTS = {h = true, lh = true, r = true, dt = true, k = true, f = true, tr = true, s = true, v = true}
local WAITING = {queued = true, activating = true}
local ENDED = {succeeded = true, failed = true, cancelled = true, expired = true}

local function of(kind, id)
  return base .. ':' .. kind .. ':' .. id
end

local line, later, held = base .. ':line', base .. ':later', base .. ':held'
local all, due, hooks = base .. ':all', base .. ':due', base .. ':hooks'
local awaited = base .. ':awaited'
local meta, up, acts, told = base .. ':meta', base .. ':up', base .. ':acts', base .. ':told'

local function stamp(moment)
  return string.format('%.6f', moment)
end

local function lives(name)
  call('PEXPIRE', name, LIFE_MS)
end

-- After this a script may write although Redis is full: what is needed to go on, or makes room.
local function write_anyway()
  call('DEL', base .. ':none')
end

-- {job}, or nil and why: 'none', or 'version' for what a newer activator has written
local function load(id)
  local values = call('HMGET', of('job', id), unpack(FIELDS))
  if not values[1] then
    return nil, 'none'
  elseif values[1] ~= VERSION then
    return nil, 'version'
  end
  local job = {id = id, changed = {}}
  for i, name in ipairs(FIELDS) do
    job[name] = values[i] or (TEXTS[name] and '' or '0')
  end
  job.before = job.s
  return job
end

local function set(job, name, value)
  value = type(value) == 'number' and (value % 1 == 0 and string.format('%d', value) or stamp(value)) or value
  if job[name] ~= value then
    job[name] = value
    job.changed[name] = true
  end
end

local function shown(job)
  local values = {job.id}
  for i = 1, SHOWN do
    values[i + 1] = job[FIELDS[i]]
  end
  return values
end

local function activator_of(holder)
  return string.match(holder, '^(.*):[^:]*$') or ''
end

local function forget_activator(act)
  if call('EXISTS', of('claims', act), of('reads', act)) == 0 then
    call('SREM', acts, act)
  end
end

-- --- what a job costs

local function give_room(job, size)
  if size > 0 then
    set(job, 'rm', tonumber(job.rm) - size)
    call('DECRBY', bytes, size)
  end
end

local function drop_body(job)
  call('UNLINK', of('body', job.id))
  give_room(job, tonumber(job.bb))
  set(job, 'bb', '0')
end

local function drop_result(job)
  call('UNLINK', of('out', job.id))
  give_room(job, tonumber(job.ob))
  set(job, 'ob', '0')
  set(job, 'tr', '')
end

local function free_key(job)
  if job.k ~= '' then
    local name = of('key', job.k)
    if call('GET', name) == job.id then
      call('DEL', name)
    end
    set(job, 'k', '')
  end
end

-- --- steps, as in core/jobs.py

local function tell(job, kind, detail)
  set(job, 't', tonumber(job.t) + 1)
  local events = of('ev', job.id)
  local said = job.a .. '-' .. job.t .. '\t' .. stamp(now) .. '\t' .. kind .. '\t' .. (detail or '')
  if call('RPUSH', events, said) > EVENTS then
    call('LTRIM', events, -EVENTS, -1)
  end
  job.rings = true
end

local function enter(job, state, detail)
  set(job, 's', state)
  job.moved = true
  tell(job, state, detail)
end

-- Nobody holds it any more. `last`: the holder, if it is a step of its own.
local function let_go(job, last)
  if job.h ~= '' then
    local act = activator_of(job.h)
    call('SREM', of('claims', act), job.id)
    forget_activator(act)
    if not last then
      call('PUBLISH', told, 'l\t' .. act .. '\t' .. job.id)
    end
  end
  set(job, 'h', '')
  set(job, 'lh', last or '')
  job.moved = true
end

local function finish(job, state, reason, detail)
  set(job, 'r', reason)
  set(job, 'dt', detail)
  set(job, 'en', stamp(now))
  set(job, 'un', '0')
  enter(job, state, detail)
  if state ~= 'succeeded' then
    drop_result(job)
    free_key(job)
  end
  if state ~= 'failed' then
    drop_body(job)
  end
  if job.hk == '1' then
    call('ZADD', hooks, stamp(now), job.id)
    lives(hooks)
    set(job, 'ht', '0')
  end
end

local function number_attempt(job, attempt)
  set(job, 'a', attempt)
  set(job, 'b', '0')
  set(job, 'st', '0')
  set(job, 't', '0')
  drop_result(job)
end

local function next_attempt(job, reason, detail, delay)
  if job.a - job.fa + 1 >= attempts then
    return finish(job, 'failed', reason, detail)
  end
  set(job, 'r', reason)
  set(job, 'dt', detail)
  set(job, 'nb', stamp(now + delay))
  number_attempt(job, job.a + 1)
  enter(job, 'queued', detail)
end

local function back_in_line(job)
  if job.s ~= 'queued' then
    enter(job, 'queued')
  end
end

local function count_readers(job, readers)
  set(job, 'rd', math.max(0, readers))
  if job.d == '1' or readers > 0 or ENDED[job.s] then
    set(job, 'un', '0')
  elseif job.un == '0' then
    set(job, 'un', stamp(now))
  end
end

-- --- keeping

local function look_again(job)
  if ENDED[job.s] then
    return job.en + retention
  end
  local at = job.un ~= '0' and job.un + grace
  if WAITING[job.s] then
    at = at and math.min(at, job.x) or tonumber(job.x)
  end
  return at
end

-- Beyond its life, so that it ends even if nobody sweeps any more; what runs is kept by its holder's
-- sweeps.
local function keep(job)
  local left = retention
  if not ENDED[job.s] then
    left = left + math.max(0, job.x - now)
  end
  local ms = math.ceil(left * 1000) + SPARE_MS
  for _, kind in ipairs({'job', 'env', 'body', 'out', 'ev'}) do
    call('PEXPIRE', of(kind, job.id), ms)
  end
  if job.k ~= '' then
    call('PEXPIRE', of('key', job.k), ms)
  end
end

local function queued()
  return call('ZCARD', line) + call('ZCARD', later)
end

local function place(job)
  local age = tonumber(call('HGET', meta, 'age') or '0')
  return job.ar + job.u * (age > 0 and age or STRICT)
end

-- How many are before it in line, and itself; '' if it is not in it.
local function standing(id)
  local ahead, rank = 0, call('ZRANK', held, id)
  if not rank then
    ahead, rank = call('ZCARD', held), call('ZRANK', line, id)
  end
  return rank and string.format('%d', ahead + rank + 1) or ''
end

local function waiting(detached)
  local count = call('SCARD', awaited)
  return detached and queued() + call('ZCARD', held) - count or count
end

-- Returns by how many more are queued then.
local function put_in_line(job)
  local more = -call('ZREM', line, job.id) - call('ZREM', later, job.id)
  call('ZREM', held, job.id)
  if WAITING[job.s] then
    local name, at = line, job.nb
    if job.h ~= '' then
      name = held
    elseif tonumber(job.nb) > now then
      name = later
    end
    if name ~= later then
      at = string.format('%.17g', place(job))
    end
    call('ZADD', name, at, job.id)
    lives(name)
    if job.d == '0' then
      call('SADD', awaited, job.id)
      lives(awaited)
    else
      call('SREM', awaited, job.id)
    end
    more = more + (name ~= held and 1 or 0)
  else
    call('SREM', awaited, job.id)
  end
  return more
end

-- Write down what has changed, and everything that follows from it.
local function save(job)
  local values, gone = {}, {}
  for name in pairs(job.changed) do
    if job[name] == '' or (job[name] == '0' and not TEXTS[name]) then
      gone[#gone + 1] = name
    else
      values[#values + 1] = name
      values[#values + 1] = job[name]
    end
  end
  if #values > 0 then
    call('HSET', of('job', job.id), unpack(values))
  end
  if #gone > 0 then
    call('HDEL', of('job', job.id), unpack(gone))
  end
  if job.before ~= job.s then
    if job.before ~= '' then
      call('HINCRBY', meta, 'n:' .. job.before, -1)
    end
    if call('HINCRBY', meta, 'n:' .. job.s, 1) == 1 then
      lives(meta)
    end
  end
  if job.moved and put_in_line(job) ~= 0 then
    call('PUBLISH', told, 'w\t' .. queued())
  end
  local at = look_again(job)
  if at then
    if call('ZADD', due, stamp(at), job.id) == 1 then
      lives(due)
    end
  else
    call('ZREM', due, job.id)
  end
  if job.rings then
    call('PUBLISH', told .. ':' .. job.id, '')
  end
  job.changed, job.moved, job.rings, job.before = {}, false, false, job.s
end

local function note_activator(kind, act, id)
  local is_new = call('SADD', of(kind, act), id) == 1
  if call('SADD', acts, act) == 1 then
    call('PUBLISH', told, 'a')
  end
  lives(of(kind, act))
  lives(acts)
  return is_new
end

local function read_by_me(job)
  if note_activator('reads', me, job.id) then
    count_readers(job, job.rd + 1)
  end
end

local function hold(job, holder, cold)
  set(job, 'h', holder)
  set(job, 'lh', '')
  job.moved = true
  note_activator('claims', activator_of(holder), job.id)
  if cold == '1' then
    enter(job, 'activating')
  end
end

local function record(job)
  local values = shown(job)
  values[#values + 1] = call('GET', of('env', job.id)) or ''
  return values
end

-- Of this endpoint, whatever it keeps them for.
local function bytes_used()
  return (call('GET', KEYS[2]) or 0) + (call('GET', bytes) or 0)
end
