-- Shared by every script. The header that Rust puts before this file binds the names of the keys the script declares
-- (TODO, INP, ...); a name that a script did not declare is an error when it is used, never a silent nil.
--
-- The index. A class is a demand and, for retries, the set of workers that failed it: "MEM:CPU:w1,w2,". Each class has a sorted set
-- READY .. "c:" .. class; HEADS holds the best score of every class that is not empty. Smaller scores run first:
-- (65535 - priority) * 2^37 + sequence, exact in the 53 bits of a double. A class that no live worker could run may be parked, behind all others at its
-- score + PARKED, so that claims need not pass it by: claim.lua. HELD holds the lines of retries: "D" waits for its backoff outside
-- any class until its time in DELAYED, "X" stands in a class that some workers pass over until its time in AVOIDED, "S" is a suspect and stands in a
-- class of suspects. COUNT is how many lines the index holds.
-- Class keys cannot be declared beforehand; they all begin with READY, which is declared.

local CLOSE = 'WORKER_COMMAND_CLOSE'
local PARKED = 2 ^ 53

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function int(n) return string.format('%.0f', n) end

-- Calls a variadic command with at most 500 arguments at a time; returns the sum of the replies. flag, if any, goes before them.
local function bulk(command, key, args, flag)
  local sum = 0
  for i = 1, #args, 500 do
    local last = math.min(i + 499, #args)
    if flag then
      sum = sum + redis.call(command, key, flag, unpack(args, i, last))
    else
      sum = sum + redis.call(command, key, unpack(args, i, last))
    end
  end
  return sum
end

-- The values of many fields, in order, in few calls. Only for hashes whose values are small.
local function get_all(key, fields)
  if #fields <= 500 then return #fields > 0 and redis.call('HMGET', key, unpack(fields)) or {} end
  local values = {}
  for i = 1, #fields, 500 do
    for k, value in ipairs(redis.call('HMGET', key, unpack(fields, i, math.min(i + 499, #fields)))) do values[i + k - 1] = value end
  end
  return values
end

local index_delta = 0

local function index_flush()
  if index_delta ~= 0 then
    redis.call('INCRBY', COUNT, int(index_delta))
    index_delta = 0
  end
end

-- Of a class that has a line with this score now. What is parked stays so.
local function index_raise(class, score)
  local head = tonumber(redis.call('ZSCORE', HEADS, class))
  if not head or (head < PARKED and tonumber(score) < head) then redis.call('ZADD', HEADS, score, class) end
end

-- Puts a line into a class, unless it stands there.
local function index_put(class, line, score)
  if redis.call('ZADD', READY .. 'c:' .. class, 'NX', score, line) == 1 then index_delta = index_delta + 1 end
  index_raise(class, score)
end

-- Puts lines into a class at once: scores and lines in turns. The least score is given, so that the head is looked at once.
local function index_put_all(class, pairs, least)
  index_delta = index_delta + bulk('ZADD', READY .. 'c:' .. class, pairs, 'NX')
  index_raise(class, int(least))
end

-- Makes HEADS true for one class after lines were taken from it.
local function index_head(class)
  local head = redis.call('ZRANGE', READY .. 'c:' .. class, 0, 0, 'WITHSCORES')
  if head[1] then redis.call('ZADD', HEADS, head[2], class) else redis.call('ZREM', HEADS, class) end
end

local function index_remove(class, line)
  if redis.call('ZREM', READY .. 'c:' .. class, line) == 1 then
    index_delta = index_delta - 1
    index_head(class)
  end
end

-- HELD[line] = PHASE|SCORE|CLASS. The class may hold no "|".
local function held_parts(value) return string.match(value, '^(%a)|([^|]*)|(.*)$') end

-- Takes a line out of the index wherever it stands; base is its class without excluded workers.
local function index_forget(base, line)
  local held = redis.call('HGET', HELD, line)
  if held then
    local phase, _, class = held_parts(held)
    if phase == 'D' then index_delta = index_delta - 1 else index_remove(class, line) end
    redis.call('HDEL', HELD, line)
    redis.call('ZREM', DELAYED, line)
    redis.call('ZREM', AVOIDED, line)
  end
  index_remove(base, line)
end

-- "w1,w2,w1," -> "w1,w2,", sorted, so that equal sets are one class.
local function worker_set(workers)
  local seen, list = {}, {}
  for name in string.gmatch(workers, '([^,|]+),') do
    if not seen[name] then seen[name] = true; list[#list + 1] = name end
  end
  table.sort(list)
  if #list == 0 then return '' end
  return table.concat(list, ',') .. ','
end

-- The index's own time, in which DELAYED and AVOIDED are kept: the server's, but it never goes back. However many lines wait for a time, none waits
-- longer because the server's clock was set back. READY .. "time" holds the latest moment at which something waited, and by how much this time is ahead
-- of the server's.
local index_time, index_seen, index_ahead

local function index_now(now)
  if index_time then return index_time end
  local seen, ahead = string.match(redis.call('GET', READY .. 'time') or '', '^(%d+):(%d+)$')
  index_seen, index_ahead = tonumber(seen or '0'), tonumber(ahead or '0')
  index_ahead = math.max(index_ahead, index_seen - now)
  index_time = now + index_ahead
  return index_time
end

-- Called while something waits: a second more or less does not matter, and a write for each call would.
local function index_keep_time(now)
  local mine = index_now(now)
  if mine > index_seen + 1000 or (index_seen > 0 and mine == index_seen) then
    redis.call('SET', READY .. 'time', int(mine) .. ':' .. int(index_ahead))
    index_seen = mine
  end
end

-- Suspects. A line that had, or may have had, a slot when its worker was lost stands in APART: LEVEL|MS, how long it had run at most. It waits in a class
-- of its own kind, "MEM:CPU:!LEVEL,"; from level 1 on it runs apart: claim.lua. Where there is none this costs a call a script.
local suspects_known
local function has_suspects()
  if suspects_known == nil then suspects_known = redis.call('HLEN', APART) > 0 end
  return suspects_known
end

-- Indexes a line that nobody has failed.
local function index_add(base, line, score)
  local level = has_suspects() and string.match(redis.call('HGET', APART, line) or '', '^(%d)|')
  if not level then return index_put(base, line, score) end
  local class = base .. '!' .. level .. ','
  redis.call('HSET', HELD, line, 'S|' .. score .. '|' .. class)
  index_put(class, line, score)
end

-- Indexes a line that some workers have failed: they pass it over for avoid_ms, after a backoff of delay_ms.
local function index_retry(base, line, score, workers, now, delay_ms, avoid_ms)
  if redis.call('HEXISTS', HELD, line) == 1 then return end
  if has_suspects() and redis.call('HEXISTS', APART, line) == 1 then return index_add(base, line, score) end
  local class = base .. worker_set(workers)
  if class ~= base or delay_ms > 0 then index_keep_time(now) end
  if delay_ms > 0 then
    redis.call('HSET', HELD, line, 'D|' .. score .. '|' .. class)
    redis.call('ZADD', DELAYED, int(index_now(now) + delay_ms), line)
    index_delta = index_delta + 1
  elseif class == base then
    index_put(base, line, score)
  else
    redis.call('HSET', HELD, line, 'X|' .. score .. '|' .. class)
    redis.call('ZADD', AVOIDED, int(index_now(now) + avoid_ms), line)
    index_put(class, line, score)
  end
end

-- Moves lines whose time has come: out of their backoff, or out of the class that some workers pass over. At most 32 of each a call.
local function index_timers(now, avoid_ms)
  for _, timers in ipairs { DELAYED, AVOIDED } do
    for _, line in ipairs(redis.call('ZRANGEBYSCORE', timers, '-inf', int(index_now(now)), 'LIMIT', 0, 32)) do
      local held = redis.call('HGET', HELD, line)
      redis.call('ZREM', timers, line)
      if held then
        redis.call('HDEL', HELD, line)
        local phase, score, class = held_parts(held)
        if phase == 'D' then index_delta = index_delta - 1 else index_remove(class, line) end
        if redis.call('HEXISTS', TODO, line) == 1 then
          local mem, cpu, workers = string.match(class, '^(%d+):(%d+):(.*)$')
          local base = mem .. ':' .. cpu .. ':'
          if phase == 'D' then index_retry(base, line, score, workers, now, 0, avoid_ms) else index_put(base, line, score) end
        end
      end
    end
  end
end

-- Waking. A worker that has room and found nothing for it stands in IDLE[worker] = MEM:CPU:SLOTS until it is woken or finds something. Whoever adds
-- lines says so with want_worker, and wakes as many of those as the lines need, and one more in case one cannot: not all of a fleet for one line.
local wanted = {}

-- One more line of this class, "MEM:CPU:" and the workers that leave it to others.
local function want_worker(class) wanted[class] = (wanted[class] or 0) + 1 end

-- Chosen at random, so that none is asked more often than others. One that nobody listens for is dead or not there yet: it is forgotten, and puts
-- itself down again with its next claim. Where those that were looked at do not do, everybody is woken.
local function wake_idle()
  if not next(wanted) then return end
  local n = redis.call('HLEN', IDLE)
  if n == 0 then return end
  local look = 64
  for _, count in pairs(wanted) do look = look + count end
  local all = n <= look and redis.call('HGETALL', IDLE) or redis.call('HRANDFIELD', IDLE, look, 'WITHVALUES')
  local idle, is_spare_due = {}, true
  for i = 1, #all, 2 do
    local mem, cpu, slots = string.match(all[i + 1], '^(%d+):(%d+):(%d+)$')
    if mem then idle[#idle + 1] = { name = all[i], mem = tonumber(mem), cpu = tonumber(cpu), slots = tonumber(slots) } end
  end
  local function wake(other)
    redis.call('HDEL', IDLE, other.name)
    other.is_gone = redis.call('PUBLISH', WAKE .. ':' .. other.name, 'todo') == 0
    other.is_awake = not other.is_gone
    return other.is_awake
  end
  local unmet = false
  for class, count in pairs(wanted) do
    local mem, cpu, failed = string.match(class, '^(%d+):(%d+):(.*)$')
    mem, cpu, failed = tonumber(mem), tonumber(cpu), ',' .. failed
    local function has_room(other)
      return not other.is_gone and other.slots > 0 and other.mem >= mem and other.cpu >= cpu
        and not string.find(failed, ',' .. other.name .. ',', 1, true)
    end
    -- First those who were woken for another class and have room left, then others.
    for pass = 1, 2 do
      for _, other in ipairs(idle) do
        if count <= 0 then break end
        if (pass == 1) == (other.is_awake == true) and has_room(other) and (other.is_awake or wake(other)) then
          local fits = math.min(count, other.slots)
          if mem > 0 then fits = math.min(fits, math.floor(other.mem / mem)) end
          if cpu > 0 then fits = math.min(fits, math.floor(other.cpu / cpu)) end
          other.slots, other.mem, other.cpu = other.slots - fits, other.mem - fits * mem, other.cpu - fits * cpu
          count = count - fits
        end
      end
    end
    if count > 0 then unmet = true end
    for _, other in ipairs(idle) do
      if not is_spare_due then break end
      if not other.is_awake and has_room(other) then is_spare_due = not wake(other) end
    end
  end
  if unmet and n > look then redis.call('PUBLISH', WAKE, 'todo') end
  wanted = {}
end

-- The next n sequence numbers; returns the first.
local function sequence(n) return redis.call('INCRBY', SEQ, n) - n + 1 end

-- CLAIMS[line] = TOKEN|ATTEMPT|STARTED|SCORE|MS; started is 0 for one claimed ahead, 2 for one with a slot, 1 once a heartbeat has told of its start; MS is
-- when it was claimed.
local function claim_parts(value) return string.match(value, '^([^|]*)|(%d+)|(%d)|([^|]*)|?(%d*)$') end

-- Whether the queue's lines are read in this field order, which is recorded where none is: others may have emptied the server. "" asks nothing.
local function order_agrees(order)
  if order == '' then return true end
  local recorded = redis.call('GET', FIELD_ORDER)
  if recorded then return recorded == order end
  redis.call('SETNX', FIELD_ORDER, order)
  return true
end

local function is_owner(worker, instance) return redis.call('HGET', OWNER, worker) == instance end

-- Counts one failure of a group, so that an overview needs no scan.
local function group_put(line, group)
  local old = redis.call('HGET', KINDS, line)
  if old == group then return end
  if old then redis.call('HINCRBY', GROUPS, old, -1) end
  redis.call('HSET', KINDS, line, group)
  if redis.call('HINCRBY', GROUPS, group, 1) == 1 or redis.call('HEXISTS', SAMPLES, group) == 0 then
    redis.call('HSET', SAMPLES, group, line)
  end
end

local function group_drop(line)
  local old = redis.call('HGET', KINDS, line)
  if not old then return end
  redis.call('HDEL', KINDS, line)
  if redis.call('HINCRBY', GROUPS, old, -1) <= 0 then
    redis.call('HDEL', GROUPS, old)
    redis.call('HDEL', SAMPLES, old)
  end
end

-- Forgets that a line ever failed.
local function failure_clear(line)
  redis.call('HDEL', FAILED, line)
  redis.call('HDEL', REASON, line)
  group_drop(line)
end

-- A record with the moment at which it is taken, by this server's clock: "z" is milliseconds after its end, which is by the clock of a worker. Ages go by it.
local function dated(record, now)
  local ended = string.match(record, '"e":(%d+)')
  if not ended then return record end
  return '{"z":' .. int(now - tonumber(ended)) .. ',' .. string.sub(record, 2)
end

-- Appends an attempt's record, one JSON object a line, keeping the last 32.
local function evidence_add(id, record)
  record = dated(record, now_ms())
  local old = redis.call('HGET', EVIDENCE, id)
  if old then
    local _, count = string.gsub(old, '\n', '\n')
    if count >= 31 then old = string.sub(old, (string.find(old, '\n', 1, true)) + 1) end
    record = old .. '\n' .. record
  end
  redis.call('HSET', EVIDENCE, id, record)
end

-- RATE is a ring of 16 five-second buckets: field = bucket % 16, value = BUCKET:COUNT; that of tasks out of retries has an "f" before each field.
local function rate_add(now, n, ring)
  local bucket = math.floor(now / 5000)
  local field = (ring or '') .. int(bucket % 16)
  local old = redis.call('HGET', RATE, field)
  local at, count = string.match(old or '', '^(%d+):(%d+)$')
  if at and tonumber(at) == bucket then n = n + tonumber(count) end
  redis.call('HSET', RATE, field, int(bucket) .. ':' .. int(n))
end

-- The event log: what one call has to say is one entry of the stream EVENTS, whose field "e" is lines of parts with tabs between them; queue/events.rs
-- reads them. It is written last and never makes a call fail. Bounded in entries, and in bytes: looked at in about one call of a hundred.
local events = {}

-- A line in the log; a long one, or one with a control character, by its SHA-1 and its beginning.
local function brief(line)
  if #line <= 200 and not string.find(line, '%c') then return line end
  return '\1' .. redis.sha1hex(line) .. string.gsub(string.sub(line, 1, 80), '%c', ' ')
end

local function events_flush(separator)
  if #events == 0 then return end
  local id = redis.pcall('XADD', EVENTS, 'MAXLEN', '~', 100000, '*', 'e', table.concat(events, separator or '\n'))
  if type(id) == 'string' and string.find(id, '00-', 1, true) then
    local used = redis.pcall('MEMORY', 'USAGE', EVENTS, 'SAMPLES', 20)
    if type(used) == 'number' and used > 16777216 then
      redis.pcall('XTRIM', EVENTS, 'MAXLEN', '~', math.floor(redis.call('XLEN', EVENTS) * 3 / 4))
    end
  end
end

local function count_commas(text)
  local _, n = string.gsub(text, ',', '')
  return n
end

-- An operator's order for a task that runs is a mark: MARKS[line] = OP|WORKER|TOKEN|ID|CLASS|SCORE|RECORD. The task stays in INP, claimed, until its process
-- is known to be dead, so that no second one starts beside it; then carry_out() moves it. REVOKED[line] = TOKEN tells its worker. OP is requeue, cancel or
-- purge; CLASS is "MEM:CPU:", SCORE is without a sequence, RECORD is the evidence of the attempt that is cut short, or "".
local function mark_parts(value) return string.match(value, '^(%a+)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|(.*)$') end

-- The mark of the claim with this token, if there is one; any mark of this worker's where there is no claim (token is nil).
local function mark_of(line, worker, token)
  local mark = redis.call('HGET', MARKS, line)
  if not mark then return nil end
  local _, holder, marked = mark_parts(mark)
  if holder == worker and (token == nil or marked == token) then return mark end
end

-- Does what an order says to a task that no process runs any more: what is added is added first. Its claim and its mark go last.
local function carry_out(line, mark, claims, revoked)
  local op, _, _, id, class, score, record = mark_parts(mark)
  redis.call('HDEL', APART, line)
  if op == 'requeue' then
    redis.call('HSET', TODO, line, '')
    -- Its failures are forgotten: it leaves the class that some workers pass over.
    index_forget(class, line)
    index_put(class, line, int(tonumber(score) + sequence(1)))
    want_worker(class)
    if record ~= '' then evidence_add(id, record) end
    local past = redis.call('HGET', EVIDENCE, id)
    if past then redis.call('HSET', ATTEMPTS, line, select(2, string.gsub(past, '\n', '\n')) + 1) end
    redis.call('HDEL', LOST, line)
    redis.call('HDEL', FINISHED, line)
    failure_clear(line)
  else
    if op == 'cancel' then
      redis.call('HSET', FAILED, line, redis.call('HGET', FAILED, line) or '')
      redis.call('HSET', REASON, line, '"cancelled"')
      group_put(line, 'cancelled')
      if record ~= '' then evidence_add(id, record) end
    else
      group_drop(line)
      for _, key in ipairs { FINISHED, FAILED, REASON, QUARANTINE, SIGNATURES } do redis.call('HDEL', key, line) end
      redis.call('HDEL', EVIDENCE, id)
    end
    redis.call('HDEL', ATTEMPTS, line)
    redis.call('HDEL', LOST, line)
    if class ~= '' then index_forget(class, line) end
    redis.call('HDEL', TODO, line)
  end
  redis.call('HDEL', INP, line)
  if claims then redis.call('HDEL', claims, line) end
  if revoked then redis.call('HDEL', revoked, line) end
  redis.call('HDEL', MARKS, line)
end
