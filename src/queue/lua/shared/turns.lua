-- What follows when a batch or a step has no open member left, and when a task of a batch has failed for good.

local turns = {}

-- One more entry of the event log, beside what the call itself has to say.
function turns.tell(text) redis.pcall('XADD', EVENTS, 'MAXLEN', '~', 100000, '*', 'e', text) end

-- Looks at the gates of names whose counters have changed: those that have opened are added to those that are emptied.
function turns.turn(names)
  gates.states = {}
  if redis.call('SCARD', READY .. 'gates') == 0 then return end
  gates.know(names)
  local opening, chores = {}, {}
  local function look(candidates)
    for i, is_there in ipairs(#candidates > 0 and redis.call('SMISMEMBER', READY .. 'gates', unpack(candidates)) or {}) do
      local gate = candidates[i]
      local to = is_there == 1 and ((gates.is_open(gate) and opening) or (string.sub(gate, 1, 1) == 'k' and chores))
      local best = to and redis.call('ZRANGE', READY .. gate, 0, 0, 'WITHSCORES')
      if best and best[1] then to[#to + 1], to[#to + 2] = best[2], gate end
    end
  end
  local candidates = {}
  for _, name in ipairs(names) do
    local state = gates.state(name)
    if state == 'adding' then redis.call('SADD', READY .. 'due:' .. members.top(name), name) end
    if state == 'done' or state == 'failed' then
      local at = #candidates
      candidates[at + 1], candidates[at + 2], candidates[at + 3] = 'b:' .. name, 'k:' .. name, 'a:' .. name
      if at > 300 then
        look(candidates)
        candidates = {}
      end
    end
  end
  look(candidates)
  bulk('ZADD', READY .. 'opening', opening)
  bulk('ZADD', READY .. 'chores', chores)
end

-- Says that a batch has ended, if it has: the last submission or the last open member was what it lacked.
function turns.say_end(batch)
  local n = redis.call('HMGET', BATCH_N, batch, batch .. '+', batch .. '!', batch .. '=')
  if n[1] == '0' and tonumber(n[2] or '0') <= 0 and tonumber(n[4] or '0') > 0 then
    turns.tell('B\tdone\t' .. batch .. '\t' .. n[4] .. '\t' .. (n[3] or '0'))
  end
end

-- Called with the names whose last open member has ended.
function turns.at_zero(names)
  for _, name in ipairs(names) do
    if not string.find(name, '/', 1, true) then turns.say_end(name) end
  end
  turns.turn(names)
end

-- Stops a batch of which more have failed for good than it allows. A percentage is of all its tasks, once they are known.
function turns.judge_failures(batch)
  local record = redis.call('HGET', BATCHES, batch)
  local most, is_part = string.match(record or '', '"max_fails":"([%d.]+)(%%?)"')
  if not most then return end
  local failed = tonumber(redis.call('HGET', BATCH_FAILS, batch) or '0')
  local limit = tonumber(most)
  if is_part == '%' then
    local n = redis.call('HMGET', BATCH_N, batch .. '=', batch .. '+')
    if tonumber(n[2] or '0') > 0 then return end
    limit = tonumber(n[1] or '0') * limit / 100
  end
  if failed <= limit then return end
  local reason = HOLD.stopped .. int(failed) .. ' failed, --max-fails ' .. most .. is_part
  if redis.call('HSETNX', BATCH_HELD, batch, reason) == 1 then turns.tell('B\tstopped\t' .. batch .. '\t' .. int(failed)) end
  redis.call('ZADD', READY .. 'chores', 0, 'x:' .. batch)
end

-- Counts a task that has failed for good, by itself.
function turns.failed(line)
  local member = members.parts_of(line)
  for _, level in ipairs(member and members.levels(member.names) or {}) do
    if not string.find(level, '/', 1, true) then
      redis.call('HINCRBY', BATCH_FAILS, level, 1)
      turns.judge_failures(level)
    end
  end
end

-- A task that is tried again by an operator's order has not failed.
function turns.forgive(line)
  local member = members.parts_of(line)
  local group = member and member.flag == 'x' and redis.call('HGET', KINDS, line)
  if not group or group == GROUP.cancelled or group == GROUP.stopped or group == GROUP.dependency_failed then return end
  for _, level in ipairs(members.levels(member.names)) do
    if redis.call('HEXISTS', BATCH_FAILS, level) == 1 and redis.call('HINCRBY', BATCH_FAILS, level, -1) < 0 then redis.call('HDEL', BATCH_FAILS, level) end
  end
end
