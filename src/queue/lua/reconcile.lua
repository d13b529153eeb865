-- Compares derived data with the six hashes, which anybody may write to, and repairs what nothing else would.
--
-- Returns: for "look" the next cursor ("0" at the end), then the fields that seem wrong; for "mend" how many were wrong.
-- Guarantees: each field is judged twice, with some time between, because a move of a Python manager is two steps, and between them its line is nowhere. The
-- second judgement and the repair are one step, so that nothing that our own programs do meanwhile is undone.
-- Records: ARG, EACH, in queue/records.rs.

local kind, worker, mode = ARGV[ARG.kind], ARGV[ARG.worker], ARGV[ARG.mode]
local function is_in(key, field) return redis.call('HEXISTS', key, field) == 1 end
local function waits_or_runs(line) return is_waiting(line) or is_in(IN_PROGRESS, line) or is_in(ASIDE, line) end
local function remove(key) return function(field) redis.call('HDEL', key, field) end end
local function token_of(holder, line)
  local claim = redis.call('HGET', CLAIMS_OF .. holder, line)
  return claim and claim_parts(claim)
end

local kinds = {}

-- What is counted of a task while it waits and runs.
for name, key in pairs { attempts = ATTEMPTS, lost = LOST, grown = GROWN } do
  kinds[name] = { key = key, is_wrong = function(line) return not waits_or_runs(line) end, mend = remove(key) }
end

-- Why a task failed is of tasks that have: a Python manager moves them back to todo and leaves the reason.
kinds.reasons = { key = REASON, is_wrong = function(line) return not is_in(FAILED, line) end, mend = remove(REASON) }

-- The counts of the groups, where the table of their lines was lost or written to by others. Counted anew where that is short.
kinds.groups = {
  key = GROUPS,
  is_wrong = function()
    local sum, all = 0, redis.call('HGETALL', GROUPS)
    for i = 2, #all, 2 do sum = sum + (tonumber(all[i]) or 0) end
    return sum ~= redis.call('HLEN', KINDS)
  end,
  mend = function()
    if redis.call('HLEN', KINDS) > 5000 then return end
    local counts, all = {}, redis.call('HGETALL', KINDS)
    for i = 2, #all, 2 do counts[all[i]] = (counts[all[i]] or 0) + 1 end
    for _, group in ipairs(redis.call('HKEYS', GROUPS)) do
      if not counts[group] then redis.call('HDEL', GROUPS, group) end
    end
    for group, count in pairs(counts) do redis.call('HSET', GROUPS, group, count) end
  end,
}

kinds.kinds = {
  key = KINDS,
  is_wrong = function(line, group)
    return not (is_in(FAILED, line) and is_in(GROUPS, group)) or is_in(RETRYING, line) ~= waits_or_runs(line)
  end,
  mend = function(line, group)
    if not is_in(FAILED, line) then return failure_clear(line) end
    if waits_or_runs(line) then will_be_retried(line) else is_not_retried(line) end
    if not is_in(GROUPS, group) then kinds.groups.mend() end
  end,
}

-- What has failed and waits or runs again. Those that a Python worker has failed are of no group.
kinds.retrying = { key = RETRYING, is_wrong = function(line) return not (is_in(FAILED, line) and waits_or_runs(line)) end, mend = remove(RETRYING) }

-- The line that a group is shown by.
kinds.samples = {
  key = SAMPLES,
  is_wrong = function(group, line) return not is_in(GROUPS, group) or redis.call('HGET', KINDS, line) ~= group end,
  mend = function(group)
    redis.call('HDEL', SAMPLES, group)
    local page = redis.call('HSCAN', KINDS, 0, 'COUNT', 500)[2]
    for i = 1, #page, 2 do
      if page[i + 1] == group then return redis.call('HSET', SAMPLES, group, page[i]) end
    end
  end,
}

-- Who signed a task, and what its line was before, is of tasks that are somewhere.
for name, key in pairs { signatures = SIGNATURES, edited = EDITED } do
  kinds[name] = {
    key = key,
    is_wrong = function(line) return not (waits_or_runs(line) or is_in(FINISHED, line) or is_in(FAILED, line)) end,
    mend = remove(key),
  }
end

-- A retry outside the index, or in a class that some pass over, whose time or place there is gone would wait for ever: it is forgotten, and found again.
kinds.held = {
  key = HELD,
  is_wrong = function(line, held)
    local phase, _, lane = held_parts(held)
    if phase == 'D' then return not redis.call('ZSCORE', DELAYED, line) end
    if not (phase and redis.call('ZSCORE', READY .. 'c:' .. lane, line)) then return true end
    -- A suspect stays in its class until it is claimed.
    return phase ~= 'S' and not redis.call('ZSCORE', RETRY_ELSEWHERE, line)
  end,
  mend = function(line, held)
    local _, _, lane = held_parts(held)
    local class = class_of(lane or '')
    if class then index_forget(class, line) else redis.call('HDEL', HELD, line) end
  end,
}

-- Of lanes in which nothing waits any more.
for name, key in pairs { blocked = BLOCKED, reserved = RESERVED, preferred = READY .. 'preferred' } do
  kinds[name] = { key = key, is_wrong = function(lane) return not (lane_parts(lane) and lane_head(lane)) end, mend = remove(key) }
end

-- What a worker has claimed is in progress under its name, or was taken away: then it is to stop, if it runs at all. What stands in todo it takes back itself.
kinds.claims = {
  key = CLAIMS_OF .. worker,
  is_wrong = function(line) return redis.call('HGET', IN_PROGRESS, line) ~= worker and not is_waiting(line) end,
  mend = function(line, claim)
    if not string.match(redis.call('HGET', OWNER, worker) or '!dead:', '^!dead:') then
      redis.call('HSET', REVOKED_OF .. worker, line, (claim_parts(claim)) or '')
      redis.call('PUBLISH', WAKE, 'beat:' .. worker)
    end
    drop_claim(line, CLAIMS_OF .. worker)
  end,
}

-- An order for a claim that is there no more has nothing to wait for; of one that is there its worker is told again, where that was lost.
kinds.marks = {
  key = MARKS,
  is_wrong = function(line, mark)
    local _, holder, token = mark_parts(mark)
    if not holder or redis.call('HGET', IN_PROGRESS, line) ~= holder or token_of(holder, line) ~= token then return true end
    return redis.call('HGET', REVOKED_OF .. holder, line) ~= token
  end,
  mend = function(line, mark)
    local _, holder, token = mark_parts(mark)
    if holder and redis.call('HGET', IN_PROGRESS, line) == holder and token_of(holder, line) == token then
      redis.call('HSET', REVOKED_OF .. holder, line, token)
      redis.call('PUBLISH', WAKE, 'beat:' .. holder)
    else
      redis.call('HDEL', MARKS, line)
    end
  end,
}

-- After a day no frozen worker comes back with an outcome.
kinds.refused = {
  key = REFUSED,
  is_wrong = function(_, second) return math.abs(now_ms() / 1000 - (tonumber(second) or 0)) > 86400 end,
  mend = remove(REFUSED),
}

-- What workers say of themselves, of names that nobody has.
for name, key in pairs { capacity = CAPACITY, load = LOAD, workers = WORKERS, idle = IDLE } do
  kinds[name] = { key = key, is_wrong = function(other) return not is_in(OWNER, other) end, mend = remove(key) }
end

-- What speaks against a worker lasts over its restarts, and is forgotten when no worker has had the name for a day.
kinds.blamed = {
  key = BLAMED,
  is_wrong = function(other, said)
    local at = tonumber(string.match(said, '"at":(%d+)') or '0')
    return not is_in(OWNER, other) and math.abs(now_ms() / 1000 - at) > 86400
  end,
  mend = remove(BLAMED),
}

-- Flags of members whose lines others have moved, ended or deleted. What finished elsewhere is done, what waits or runs is open, what is nowhere is gone.
local function flag_of(line, value)
  local flag = string.sub(value, 1, 1)
  if waits_or_runs(line) then return 'o' end
  if is_in(FINISHED, line) then return 'd' end
  if is_in(FAILED, line) or is_in(QUARANTINE, line) then return 'x' end
  -- The result of a member that was done may have been purged: nothing is missed.
  return flag == 'o' and 'g' or flag
end
kinds.members = {
  key = MEMBER,
  is_wrong = function(line, value) return flag_of(line, value) ~= string.sub(value, 1, 1) end,
  mend = function(line, value)
    members.flip(line, flag_of(line, value))
    members.flush(turns.at_zero)
  end,
}

-- A line that counts is in progress, or claimed or to be stopped by the worker where it counts; then it is in the sets of all limits that it names.
kinds.limits = {
  key = LIMITS_AT,
  is_wrong = function(line, place)
    local names, holder = limits.of(line), string.match(place, '\t(.*)$')
    if not (names and holder) then return true end
    for _, name in ipairs(names) do
      if redis.call('SISMEMBER', LIMITS_IN .. name, line) == 0 then return true end
    end
    return not (is_in(IN_PROGRESS, line) or is_in(CLAIMS_OF .. holder, line) or is_in(REVOKED_OF .. holder, line))
  end,
  mend = function(line, place)
    local holder = string.match(place, '\t(.*)$') or ''
    if limits.of(line) and (is_in(IN_PROGRESS, line) or is_in(CLAIMS_OF .. holder, line) or is_in(REVOKED_OF .. holder, line)) then
      for _, name in ipairs(limits.of(line)) do redis.call('SADD', LIMITS_IN .. name, line) end
    else
      limits.forget { line }
      redis.call('HDEL', LIMITS_AT, line)
      redis.call('PUBLISH', WAKE, 'todo')
    end
  end,
}

-- What is in the set of a limit counts somewhere, and names it.
kinds.limited = {
  key = LIMITS_IN .. worker,
  is_set = true,
  is_wrong = function(line)
    local names = limits.of(line)
    if not (names and string.find(',' .. table.concat(names, ',') .. ',', ',' .. worker .. ',', 1, true)) then return true end
    return not (is_in(LIMITS_AT, line) or is_in(IN_PROGRESS, line))
  end,
  mend = function(line)
    redis.call('SREM', LIMITS_IN .. worker, line)
    redis.call('PUBLISH', WAKE, 'todo')
  end,
}

local asked = kinds[kind]
if mode == 'mend' then
  local mended = 0
  for i = ARG.size + 1, #ARGV do
    local value
    if asked.is_set then value = redis.call('SISMEMBER', asked.key, ARGV[i]) == 1 else value = redis.call('HGET', asked.key, ARGV[i]) end
    if value and asked.is_wrong(ARGV[i], value) then
      asked.mend(ARGV[i], value)
      mended = mended + 1
    end
  end
  index_flush()
  return mended
end
local page = redis.call(asked.is_set and 'SSCAN' or 'HSCAN', asked.key, ARGV[ARG.size + 1 + EACH.cursor], 'COUNT', ARGV[ARG.size + 1 + EACH.count])
local reply = { page[1] }
for i = 1, #page[2], asked.is_set and 1 or 2 do
  if asked.is_wrong(page[2][i], page[2][i + 1]) then reply[#reply + 1] = page[2][i] end
end
return reply
