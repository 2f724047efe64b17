-- An activator is gone: what it held waits again, and its readers are no more; some of it at a time.
-- ARGV  the activator, how many of each
-- Reply {1 if there is more, job that it held, …}
local act, most = ARGV[7], tonumber(ARGV[8])
local claims, reads = of('claims', act), of('reads', act)
write_anyway()

local reply = {0}
for _, id in ipairs(call('SRANDMEMBER', reads, most)) do
  call('SREM', reads, id)
  local job = load(id)
  if job then
    count_readers(job, job.rd - 1)
    save(job)
  end
end
if call('EXISTS', reads) == 0 then
  for _, id in ipairs(call('SRANDMEMBER', claims, most)) do
    local job, why = load(id)
    if job and activator_of(job.h) == act then
      local in_flight = job.s == 'running'
      let_go(job)
      if in_flight then
        next_attempt(job, 'activator_gone', 'the activator that ran it is gone', 0)
      else
        back_in_line(job)
      end
      save(job)
      reply[#reply + 1] = shown(job)
    end
    call('SREM', claims, id)
  end
end
forget_activator(act)
reply[1] = call('EXISTS', claims, reads)
return reply
