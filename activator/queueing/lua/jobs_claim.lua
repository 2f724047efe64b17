-- The first in line, as many as wanted.
-- ARGV  limit, age, cold, only those before this place or '', number of the first claim,
--       first and last numbers of claims of which this activator never heard…
-- Reply {seconds until one that backs off is ready or '', record, …}
local limit, age, cold, before = tonumber(ARGV[7]), ARGV[8], ARGV[9], tonumber(ARGV[10])
local number = tonumber(ARGV[11])
if call('EXISTS', meta) == 0 then  -- there are no jobs
  return {''}
end
write_anyway()

local function never_heard(claim)
  for i = 12, #ARGV, 2 do
    if claim >= tonumber(ARGV[i]) and claim <= tonumber(ARGV[i + 1]) then
      return true
    end
  end
end
if #ARGV > 11 then
  for _, id in ipairs(call('SMEMBERS', of('claims', me))) do
    local job = load(id)
    local theirs = job and tonumber(string.match(job.h, ':([^:]*)$'))
    if theirs and never_heard(theirs) and WAITING[job.s] then
      let_go(job, job.h)
      back_in_line(job)
      save(job)
    end
  end
end

local function put_all(name)
  for _, id in ipairs(call('ZRANGE', name, 0, -1)) do
    local job = load(id)
    if job then
      put_in_line(job)
    end
  end
end
if call('HGET', meta, 'age') ~= age then
  call('HSET', meta, 'age', age)
  put_all(line)
  put_all(held)
end
for _, id in ipairs(call('ZRANGEBYSCORE', later, '-inf', stamp(now))) do
  local job, why = load(id)
  if job then
    put_in_line(job)
  elseif why == 'none' then
    call('ZREM', later, id)
  end
end

local replies = {''}
local skipped = 0
while #replies - 1 < limit do
  local first = call('ZRANGE', line, skipped, skipped, 'WITHSCORES')
  if #first == 0 or (before and tonumber(first[2]) >= before) then
    break
  end
  local job, why = load(first[1])
  if job then
    hold(job, me .. ':' .. string.format('%d', number), cold)
    number = number + 1
    save(job)
    replies[#replies + 1] = record(job)
  elseif why == 'none' then
    call('ZREM', line, first[1])
  else
    skipped = skipped + 1
  end
end
local next = call('ZRANGE', later, 0, 0, 'WITHSCORES')
if #next > 0 then
  replies[1] = stamp(math.max(0, next[2] - now))
end
return replies
