-- Makes an instance the owner of a worker name, with a new epoch. Called at the start and after every reconnect.
--
-- If the reply has epoch 0 or -1, nothing was done.
-- Guarantees: late commands of an older epoch are refused from now on, even if the name was removed or Redis lost data meanwhile, because an epoch is
-- never used twice. A name that is free or declared dead may be taken. An old heartbeat is renewed: the lease starts now. A drain stays until an operator
-- lifts it. If somebody has emptied the server, this script restores what only a start would write: the layout, the field order, and the drain, which
-- no operator can have lifted while the owner is missing too. The layout is raised when every registered worker supports the newer version.
-- A queue of layout 1 has an index by class alone. The first worker of layout 2 that finds no live one of layout 1 removes that index; the indexer writes it
-- anew from the hashes.
-- Records: ARG, REPLY, in queue/records.rs.

local function reply(epoch, layout, behind, refusal)
  return { [REPLY.epoch] = epoch, [REPLY.layout] = layout, [REPLY.behind] = behind, [REPLY.refusal] = refusal }
end
local worker, instance = ARGV[ARG.worker], ARGV[ARG.instance]
local newest, oldest = tonumber(ARGV[ARG.newest]), tonumber(ARGV[ARG.oldest])
local recorded = redis.call('GET', FORMAT)
local layout = tonumber(recorded or newest)
-- Whether a worker that supports no newer layout than this may still be alive.
local function has_live(version)
  local workers, now = redis.call('HGETALL', WORKERS), tonumber(redis.call('TIME')[1])
  for i = 1, #workers, 2 do
    local supports = tonumber(string.match(workers[i + 1], '"newest":(%d+)') or '1')
    local beat = tonumber(string.match(redis.call('HGET', STATUS, workers[i]) or '', '^(%d+)'))
    if workers[i] ~= worker and supports <= version and not (beat and math.abs(now - beat) >= 300) then return true end
  end
  return false
end
local function forget_index_of_layout_1()
  local raised = redis.pcall('SET', FORMAT, '2')
  if raised.err then return false end
  for _, class in ipairs(redis.call('ZRANGE', READY .. 'heads', 0, -1)) do redis.call('DEL', READY .. 'c:' .. class) end
  for _, key in ipairs { READY .. 'heads', READY .. 'parked', HELD, DELAYED, RETRY_ELSEWHERE, COUNT, BLOCKED, RESERVED, IDLE, SCAN } do redis.call('DEL', key) end
  local marks = redis.call('HGETALL', MARKS)
  for i = 1, #marks, 2 do
    redis.call('HSET', MARKS, marks[i], (string.gsub(marks[i + 1], '^(%a+|[^|]*|[^|]*|[^|]*|%d+:%d+:)|', '%1:|')))
  end
  return true
end
local owner = redis.call('HGET', OWNER, worker) or ''
local holder, epoch = string.match(owner, '^(.*):(%d+)$')
local is_taken = owner ~= '' and owner ~= ARGV[ARG.previous] and holder ~= instance and holder ~= '!dead'
-- Not for a name that is refused: an older build may work under it.
if layout == 1 and oldest == 2 and not is_taken and not has_live(1) and forget_index_of_layout_1() then layout = 2 end
if not layout or layout < oldest or layout > newest then return reply(-1, recorded, '', '') end
if is_taken then return reply(0, owner, '', '') end
local seen = string.match(ARGV[ARG.previous], ':(%d+)$')
local next_epoch = math.max(tonumber(epoch or '0'), tonumber(seen or '0')) + 1
redis.call('HSET', OWNER, worker, instance .. ':' .. int(next_epoch))
redis.call('HSET', WORKERS, worker, ARGV[ARG.registration])
redis.call('HDEL', DIED, worker)
local figures = string.match(redis.call('HGET', STATUS, worker) or '', '^%d+(:.*)$')
if figures then redis.call('HSET', STATUS, worker, redis.call('TIME')[1] .. figures) end
if ARGV[ARG.offer] ~= '' then redis.call('HSET', CAPACITY, worker, ARGV[ARG.offer] .. ':' .. ARGV[ARG.traits]) else redis.call('HDEL', CAPACITY, worker) end
if not recorded then redis.call('SETNX', FORMAT, ARGV[ARG.newest]) end
local behind, refusal = '', ''
if layout < newest then
  local workers = redis.call('HGETALL', WORKERS)
  for i = 1, #workers, 2 do
    -- A build that does not say supports the first version.
    local supports = tonumber(string.match(workers[i + 1], '"newest":(%d+)') or '1')
    if workers[i] ~= worker and supports < newest then behind = workers[i] end
  end
  if behind == '' then
    -- A worker whose user may not raise it works in the old one.
    local set = redis.pcall('SET', FORMAT, ARGV[ARG.newest])
    if set.err then refusal = set.err else layout = newest end
  end
end
order_agrees(ARGV[ARG.order])
if owner == '' and ARGV[ARG.is_drained] == '1' then redis.call('HSET', DRAIN, worker, redis.call('TIME')[1]) end
events[1] = 'W\t' .. (holder == instance and 'reattached' or 'attached') .. '\t' .. worker
events_flush()
return reply(next_epoch, int(layout), behind, refusal)
