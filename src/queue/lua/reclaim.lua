-- Takes over lines in progress under one worker's name: a dead worker's, our own from before a restart, or any by an operator's order.
--
-- Guarantees: the dead worker is fenced before its first line moves. A line is added to todo_tasks or failed_tasks before it leaves in_progress_tasks. If an
-- operator has ordered something for a line meanwhile, that is done instead, and the result of that attempt is refused, should its worker live after all.
--
-- An attempt that had a slot is a loss. One of the lost tasks may have killed the worker, so all of them are suspects from then on. A suspect whose next
-- loss could be its last runs apart (claim.lua). Any other suspect is only not claimed ahead, so that its next loss is counted. The max_lost_per_task-th
-- loss, or a later one, fails the task if it was the only suspect. 0 means the first loss.
-- Records: ARG, EACH, REPLY, in queue/records.rs.

local dead, mode = ARGV[ARG.worker], ARGV[ARG.mode]
local function reply(state, returned, failed)
  return { [REPLY.state] = state, [REPLY.returned] = returned, [REPLY.failed] = failed }
end
local now = now_ms()
local owner = redis.call('HGET', OWNER, dead) or ''
if mode == 'own' then
  if owner ~= ARGV[ARG.proof] then return reply('FENCED', 0, 0) end
else
  if mode == 'lease' then
    local beat = string.match(redis.call('HGET', STATUS, dead) or '', '^(%d+)') or ''
    if beat ~= ARGV[ARG.proof] then return reply('ALIVE', 0, 0) end
    -- A heartbeat is from any moment of its second. One in the future is from before the clock was set back.
    local age = beat ~= '' and now - tonumber(beat) * 1000
    if age and age > -1000 and age < tonumber(ARGV[ARG.lease]) + 1000 then return reply('ALIVE', 0, 0) end
  end
  local holder, epoch = string.match(owner, '^(.*):(%d+)$')
  if holder and holder ~= '!dead' then
    redis.call('HSET', OWNER, dead, '!dead:' .. int(tonumber(epoch) + 1))
    deaths.begin(dead, now)
    redis.call('HINCRBY', TALLY, 'died', 1)
    events[1] = 'W\tdead\t' .. dead
  end
  redis.call('HDEL', CAPACITY, dead)
  redis.call('HDEL', IDLE, dead)
end
local max_lost, avoid_ms = tonumber(ARGV[ARG.max_lost]), tonumber(ARGV[ARG.avoid])
local moved, failed = 0, 0

-- The suspects are chosen once for all claims of the worker, however many calls take them over: "1" the only one that had a slot, "+" all that had a
-- slot, "*" all. A prefetched task may have started without Redis knowing, unless every slot was taken by another one.
local kind, tested
local function judge()
  local by = redis.call('HGET', APART_BY, dead) or ''
  kind, tested = string.match(by, '^([1+*])|(.*)$')
  if kind then return end
  tested = string.match(by, '^%d+|%d+|(.*)$') or ''
  local with_slot, ahead = 0, 0
  for _, claim in ipairs(redis.call('HVALS', CLAIMS)) do
    local _, _, started = claim_parts(claim)
    if started == '0' then ahead = ahead + 1 else with_slot = with_slot + 1 end
  end
  local slots = tonumber(string.match(redis.call('HGET', LOAD, dead) or '', '"slots":(%d+)'))
  local is_full = ahead == 0 or (slots and with_slot >= slots)
  kind = not is_full and '*' or (with_slot == 1 and '1' or '+')
  redis.call('HSET', APART_BY, dead, kind .. '|' .. tested)
end
if redis.call('HLEN', CLAIMS) > 0 then judge() end

-- The latest moment at which the worker can have died: now, or when its next heartbeat was due.
local died = now
if mode == 'lease' and ARGV[ARG.proof] ~= '' then died = math.min(now, tonumber(ARGV[ARG.proof]) * 1000 + 1000 + tonumber(ARGV[ARG.lease]) / 2) end

-- The level of suspicion. 0: the next loss cannot fail the task. Most nodes are lost without the fault of a task, so it starts again at once. 1: it runs
-- apart. 2, for a task that was lost while it ran apart, or alone for the second time: it runs strictly alone the next time, and first.
local function suspect(line, started, at, losses)
  if started == '0' and kind ~= '*' then return nil end
  local level = 1
  if line == tested or (kind == '1' and losses > 1) then
    level = 2
  elseif losses < max_lost - 1 then
    level = 0
  end
  local ms = tonumber(at or '') and math.max(0, died - tonumber(at)) or 86400000
  redis.call('HSET', APART, line, int(level) .. '|' .. int(ms))
  suspects_known = true
  return level
end
-- The record of a lost attempt, with its start: the moment of its claim. The end is by the clock of the worker that reclaims, and not before it.
local function with_start(record, at)
  local ended = tonumber(string.match(record, '"e":(%d+)') or '')
  if not (ended and tonumber(at or '')) then return record end
  return '{"s":' .. int(math.min(tonumber(at), ended)) .. ',' .. string.sub(record, 2)
end
local said = #events
local lines = {}
for i = ARG.size + 1, #ARGV, EACH.size do lines[#lines + 1] = ARGV[i + EACH.line] end
members.read(lines)
grown.read(lines)
for i = ARG.size + 1, #ARGV, EACH.size do
  local line, id, class, base = ARGV[i + EACH.line], ARGV[i + EACH.id], ARGV[i + EACH.class], ARGV[i + EACH.base_score]
  local claim = redis.call('HGET', CLAIMS, line)
  local token = claim and claim_parts(claim)
  local mark = redis.call('HGET', IN_PROGRESS, line) == dead and mark_of(line, dead, token)
  if mark then
    if token and mode ~= 'own' then redis.call('HSET', REFUSED, token .. '|' .. line, int(now / 1000)) end
    carry_out(line, mark, CLAIMS, REVOKED)
    if string.sub(mark, 1, 8) == 'requeue|' then events[#events + 1] = 'reclaimed\t' .. id .. '\t' .. class .. '\t1' end
    moved = moved + 1
  elseif redis.call('HGET', IN_PROGRESS, line) ~= dead then
    drop_claim(line, CLAIMS)
    limits.let_go(line)
  else
    local started, score, attempt, at = '0', nil, 1, nil
    if claim then
      local _, n, s, kept, claimed = claim_parts(claim)
      attempt, started, score, at = tonumber(n), s, kept, claimed
    end
    local losses = 0
    if started ~= '0' then
      losses = redis.call('HINCRBY', LOST, line, 1)
      evidence_add(id, grown.record(line, with_start(ARGV[i + EACH.record], at)))
      redis.call('HSET', ATTEMPTS, line, attempt)
      redis.call('HINCRBY', TALLY, 'lost', 1)
    end
    local what = started ~= '0' and 'lost' or 'reclaimed'
    if redis.call('HEXISTS', FINISHED, line) == 1 then
      moved = moved + 1
    elseif losses > 0 and losses >= max_lost and kind == '1' then
      local times = losses == 1 and 'once' or losses .. ' times'
      redis.call('HSET', FAILED, line, (redis.call('HGET', FAILED, line) or '') .. dead .. ',')
      redis.call('HSET', REASON, line, '"worker lost ' .. times .. ' while running this task"')
      group_put(line, GROUP.lost)
      redis.call('HDEL', ATTEMPTS, line)
      redis.call('HDEL', LOST, line)
      redis.call('HDEL', APART, line)
      is_not_retried(line)
      grown.drop(line)
      redis.call('HINCRBY', TALLY, 'failed', 1)
      redis.call('HINCRBY', TALLY, 'final', 1)
      members.flip(line, 'x')
      turns.failed(line)
      failed = failed + 1
      what = 'failed'
    else
      local level = claim and suspect(line, started, at, losses)
      -- A task that was running may have killed its worker. It queues behind its equals, so that it does not kill the next worker at once.
      if level == 2 then
        score = int(sequence(1))
      elseif started ~= '0' or not score then
        score = int(tonumber(base) + sequence(1))
      end
      put_back(line, class, score, redis.call('HGET', FAILED, line), now, 0, avoid_ms)
      moved = moved + 1
    end
    leave_progress({ line }, CLAIMS)
    events[#events + 1] = what .. '\t' .. id .. '\t' .. class .. '\t' .. int(attempt) .. (losses > 0 and at and '\n@\t' .. at or '')
  end
end
if redis.call('HLEN', CLAIMS) == 0 then redis.call('HDEL', APART_BY, dead) end
if mode ~= 'own' then deaths.add(dead, moved, failed) end
members.flush(turns.at_zero)
index_flush()
if #events > said then events[said + 1] = 'L\t' .. dead .. '\n' .. events[said + 1] end
events_flush()
wake_idle()
return reply('OK', moved, failed)
