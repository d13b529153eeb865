-- Settles a batch of claims.
--
-- ARGV: 1 worker, 2 instance:epoch, 3 max_retry_per_task, 4 ms a failed worker leaves a retry to others, 5 "1" to keep a result whose line is nowhere
--       (after Redis lost data), then for each claim ten: operation, line, token, task id, value, record, class, backoff ms
--       after a first failure, group, code of the outcome.
--       operation: F finished (value for finished_tasks), X failed (value for task_fail_reason), I refused for ever (the same), R returned.
--       record is the attempt's evidence, "" for one that never started; class is "MEM:CPU:".
-- Returns: for each claim ok, retry, final, late (the line was back in todo and nobody had claimed it), dup (settled before), lost (another's
--       now), gone (nobody's now) or ordered (an operator's order for it is carried out, and nothing of this recorded); or FENCED alone.
-- Keeps: what is added is added before in_progress_tasks lets go. Repeating the call is safe: a settled claim answers dup.

local worker = ARGV[1]
if not is_owner(worker, ARGV[2]) then return { 'FENCED' } end
local max_retry, avoid_ms, force = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local now = now_ms()
local replies, counts, finals = {}, {}, 0
local has_failures = redis.call('HLEN', FAILED) > 0
local finished, values, records = {}, {}, {}
-- As much of a record as tells its attempt, start and end.
local head = 52 + #worker

-- Owners and claims of all lines in two calls; what is finished is written in few. A line that comes twice in one batch is looked up again.
local lines, known = {}, {}
for i = 6, #ARGV, 10 do
  lines[#lines + 1] = ARGV[i + 1]
  known[ARGV[i + 1]] = known[ARGV[i + 1]] == nil
end
local owners, claimed = get_all(IN_PROGRESS, lines), get_all(CLAIMS, lines)
local has_marks = redis.call('HLEN', MARKS) > 0

-- RATE is a ring of 16 five-second buckets: field = bucket % 16, value = BUCKET:COUNT; that of tasks out of retries has an "f" before each field.
local function rate_add(now, n, ring)
  local bucket = math.floor(now / 5000)
  local field = (ring or '') .. int(bucket % 16)
  local old = redis.call('HGET', RATE, field)
  local at, count = string.match(old or '', '^(%d+):(%d+)$')
  if at and tonumber(at) == bucket then n = n + tonumber(count) end
  redis.call('HSET', RATE, field, int(bucket) .. ':' .. int(n))
end

local function count_commas(text)
  local _, n = string.gsub(text, ',', '')
  return n
end

-- Writes what is finished so far, and lets go of it.
local function flush()
  if #finished == 0 then return end
  bulk('HSET', FINISHED, values)
  bulk('HSET', EVIDENCE, records)
  leave_progress(finished, CLAIMS)
  rate_add(now, #finished)
  finished, values, records = {}, {}, {}
end

-- Doubled with each failure since the last requeue, which forgets them, up to an hour; there spread by the task, so that not all come back together.
local function backoff(first, failures, id)
  local most = 3600000 * (0.75 + (tonumber(string.sub(id, 1, 4), 16) or 0) / 262144)
  return math.floor(math.min(first * 2 ^ math.min(failures - 1, 40), math.max(first, most)))
end

-- The record with the task's place in the order of submission, which its claim's score holds, where it is known.
local function in_order(record, score)
  local seq = record ~= '' and tonumber(score or '0') % 137438953472 or 0
  return seq > 0 and '{"n":' .. int(seq) .. ',' .. string.sub(record, 2) or record
end

local function count(what)
  counts[what] = (counts[what] or 0) + 1
end

for i = 6, #ARGV, 10 do
  local op, line, token, id, value, record, class = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  local at = (i + 4) / 10
  local owner, claim, answer = owners[at], claimed[at], nil
  if not known[line] then
    flush()
    owner, claim = redis.call('HGET', IN_PROGRESS, line), redis.call('HGET', CLAIMS, line)
  end
  local attempt, score = 1, nil
  if owner == worker then
    if claim then
      local held_token, n, _, s = claim_parts(claim)
      if held_token == token then attempt, score = tonumber(n), s else answer = 'lost' end
    end
    local mark = has_marks and not answer and mark_of(line, worker, claim and token)
    if mark then
      carry_out(line, mark, CLAIMS, REVOKED)
      answer = 'ordered'
    end
  elseif owner then
    answer = 'lost'
  else
    local past = redis.call('HGET', EVIDENCE, id)
    -- As it was taken, it has a date and its place in the order of submission before the rest.
    if record ~= '' and past and string.find(past, string.sub(record, 2), 1, true) then
      answer = 'dup'
    elseif redis.call('HEXISTS', REFUSED, token .. '|' .. line) == 1 then
      answer = 'gone'
    elseif op == 'F' and redis.call('HEXISTS', TODO, line) == 1 then
      answer = 'late'
      attempt = 2
    elseif op == 'F' and force and redis.call('HEXISTS', FINISHED, line) == 0 then
      attempt = 2
    else
      answer = 'gone'
    end
    -- Somebody took the line out of in_progress_tasks: the claim goes with its last outcome.
    if claim and claim_parts(claim) == token then drop_claim(line, CLAIMS) end
  end

  if answer == nil or answer == 'late' then
    -- It has outlived what killed its worker, or ended by itself.
    if op ~= 'R' and has_suspects() then redis.call('HDEL', APART, line) end
    if op == 'F' then
      local has_failed = has_failures and redis.call('HEXISTS', FAILED, line) == 1
      if attempt == 1 and not has_failed then
        values[#values + 1] = line
        values[#values + 1] = value
        records[#records + 1] = id
        records[#records + 1] = dated(in_order(record, score), now)
      else
        redis.call('HSET', FINISHED, line, value)
        if attempt > 1 then
          evidence_add(id, in_order(record, score))
          redis.call('HDEL', ATTEMPTS, line)
          redis.call('HDEL', LOST, line)
        else
          redis.call('HSET', EVIDENCE, id, dated(in_order(record, score), now))
        end
        if answer == 'late' then
          redis.call('HDEL', TODO, line)
          index_forget(class, line)
        end
        if has_failed then failure_clear(line) end
      end
      finished[#finished + 1] = line
      local n = #events
      events[n + 1], events[n + 2], events[n + 3], events[n + 4] = '\nF', id, class, string.sub(record, 1, head)
      count('finished')
      answer = answer or 'ok'
    elseif op == 'R' then
      score = score or int(sequence(1))
      put_back(line, class, score, has_failures and redis.call('HGET', FAILED, line), now, 0, avoid_ms, worker)
      if record ~= '' then
        evidence_add(id, record)
        redis.call('HSET', ATTEMPTS, line, attempt)
        count('returned')
      end
      leave_progress({ line }, CLAIMS)
      events[#events + 1] = '\nR\t' .. id .. '\t' .. class .. '\t' .. string.sub(record, 1, head) .. '\t' .. int(attempt)
      answer = 'ok'
    else
      local workers = (redis.call('HGET', FAILED, line) or '') .. worker .. ','
      redis.call('HSET', FAILED, line, workers)
      redis.call('HSET', REASON, line, value)
      group_put(line, ARGV[i + 8])
      has_failures = true
      if record ~= '' then evidence_add(id, in_order(record, score)) end
      redis.call('HSET', ATTEMPTS, line, attempt)
      count('failed')
      if ARGV[i + 9] == 'timed_out' then count('timed_out') end
      local failures = count_commas(workers)
      if op == 'X' and failures < max_retry then
        local delay_ms = backoff(tonumber(ARGV[i + 7]), failures, id)
        put_back(line, class, score or int(sequence(1)), workers, now, delay_ms, avoid_ms)
        answer = 'retry'
      else
        redis.call('HDEL', ATTEMPTS, line)
        redis.call('HDEL', LOST, line)
        finals = finals + 1
        answer = 'final'
      end
      leave_progress({ line }, CLAIMS)
      events[#events + 1] = (answer == 'retry' and '\nX\t' or '\nZ\t') .. id .. '\t' .. class .. '\t' .. string.sub(record, 1, head) .. '\t' .. ARGV[i + 8]
    end
  end
  replies[#replies + 1] = answer
end

flush()
if finals > 0 then rate_add(now, finals, 'f') end
for what, n in pairs(counts) do
  redis.call('HINCRBY', TALLY, what, n)
  redis.call('HINCRBY', TALLY, what .. ':' .. worker, n)
end
index_flush()
if #events > 0 then
  events[1] = 'S\t' .. worker .. events[1]
  events_flush('\t')
end
wake_idle()
return replies
