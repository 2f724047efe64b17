-- One step of a job that brings nothing along.
-- ARGV  step, id, holder or '', reason, detail, delay, state
-- Reply {'ok', job…} | {'superseded', state} | {'forbidden', state} | {'none'} | {'version'}
local step, id, holder, reason, detail = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local job, why = load(id)
if not job then
  return {why}
end

local FENCED = {begin = true, give_back = true, requeue = true, finish = true}
if FENCED[step] and job.h ~= holder then
  local made_before = job.h == '' and job.lh == holder and step ~= 'begin' and (step ~= 'finish' or ENDED[job.s])
  return made_before and {'ok', unpack(shown(job))} or {'superseded', job.s}
end
write_anyway()
if step == 'begin' then
  if job.s ~= 'running' then
    set(job, 'b', stamp(now))
    enter(job, 'running')
  end
elseif step == 'give_back' then
  if not WAITING[job.s] then
    return {'forbidden', job.s}
  end
  let_go(job, holder)
  if tonumber(ARGV[12]) > 0 then  -- not to who gives it back
    set(job, 'nb', now + tonumber(ARGV[12]))
  end
  back_in_line(job)
elseif step == 'requeue' then
  let_go(job, holder)
  next_attempt(job, reason, detail, tonumber(ARGV[12]))
elseif step == 'finish' then
  if ARGV[13] == 'succeeded' and job.s ~= 'running' then
    return {'forbidden', job.s}
  end
  let_go(job, holder)
  finish(job, ARGV[13], reason, detail)
elseif step == 'cancel' then
  if not ENDED[job.s] then
    let_go(job)
    finish(job, 'cancelled', reason, detail)
  end
elseif step == 'retry' then
  if job.s == 'failed' then
    set(job, 'fa', job.a + 1)
    set(job, 'x', stamp(now + ttl))
    set(job, 'd', '1')
    set(job, 'un', '0')
    set(job, 'en', '0')
    set(job, 'nb', '0')
    call('ZREM', hooks, id)
    number_attempt(job, job.a + 1)
    enter(job, 'queued')
    keep(job)
  end
elseif step == 'detach' then
  set(job, 'd', '1')
  set(job, 'un', '0')
  job.moved = true
  if job.h ~= '' then
    call('PUBLISH', told, 'd\t' .. activator_of(job.h) .. '\t' .. id)
  end
end
save(job)
return {'ok', unpack(shown(job))}
