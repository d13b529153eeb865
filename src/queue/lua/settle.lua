-- Settles a batch of claims.
--
-- Returns: for each claim ok, retry, more (a retry that declares more memory), final, late (the line was back in todo, unclaimed), dup (settled before), lost
-- (now claimed by another worker), gone (now claimed by nobody) or ordered (an operator's order for it was carried out, and the outcome not recorded); or
-- FENCED alone.
-- Guarantees: added first, removed from in_progress_tasks last. The call is safe to repeat: a settled claim returns dup.
-- Records: ARG, EACH, in queue/records.rs.

local worker = ARGV[ARG.worker]
if not is_owner(worker, ARGV[ARG.fence]) then return { 'FENCED' } end
local max_retry, avoid_ms, force = tonumber(ARGV[ARG.max_retry]), tonumber(ARGV[ARG.avoid]), ARGV[ARG.keep_results] == '1'
local now = now_ms()
local replies, counts, finals = {}, {}, 0
local has_failures = redis.call('HLEN', FAILED) > 0
-- What has finished, and is written in few calls. A script has room for 200 local names, and this one is near.
local done = { lines = {}, values = {}, records = {} }
-- The length of a record's beginning that holds its attempt, start and end.
local head = 52 + #worker

-- Owners and claims of all lines are read in two calls, and finished lines are written in few. A line that is in the batch twice is looked up again.
local lines, known = {}, {}
for i = ARG.size + 1, #ARGV, EACH.size do
  lines[#lines + 1] = ARGV[i + EACH.line]
  known[ARGV[i + EACH.line]] = known[ARGV[i + EACH.line]] == nil
end
local owners, claimed = get_all(IN_PROGRESS, lines), get_all(CLAIMS, lines)
members.read(lines)
grown.read(lines)
local has_marks = redis.call('HLEN', MARKS) > 0

-- RATE is a ring of 16 buckets of 5 s: field = bucket % 16, value = BUCKET:COUNT. The fields for tasks out of retries begin with "f".
local function rate_add(now, n, ring)
  local bucket = math.floor(now / 5000)
  local field = (ring or '') .. int(bucket % 16)
  local old = redis.call('HGET', RATE, field)
  local at, count = string.match(old or '', '^(%d+):(%d+)$')
  if at and tonumber(at) == bucket then n = n + tonumber(count) end
  redis.call('HSET', RATE, field, int(bucket) .. ':' .. int(n))
end

-- Notes in which order tasks finished: ENDED is a stream with an entry for each call, whose fields and values are the lines, and an empty value where their
-- number is odd. Readers believe FINISHED: a line that is not there any more, or has finished again since, costs them a look. It is written last.
function done.note()
  for i = 1, #done.lines, 500 do
    local part = { unpack(done.lines, i, math.min(i + 499, #done.lines)) }
    if #part % 2 == 1 then part[#part + 1] = '' end
    append(ENDED, 200000, unpack(part))
  end
end

-- Writes the finished lines collected so far, and removes them from in_progress_tasks.
function done.flush()
  if #done.lines == 0 then return end
  bulk('HSET', FINISHED, done.values)
  bulk('HSET', EVIDENCE, done.records)
  leave_progress(done.lines, CLAIMS)
  rate_add(now, #done.lines)
  done.note()
  done.lines, done.values, done.records = {}, {}, {}
end

-- The delay doubles with each failure since the last requeue, up to an hour. At the bound it varies with the task, so that not all come back together.
local function backoff(first, failures, id)
  local most = 3600000 * (0.75 + (tonumber(string.sub(id, 1, 4), 16) or 0) / 262144)
  return math.floor(math.min(first * 2 ^ math.min(failures - 1, 40), math.max(first, most)))
end

-- Adds the task's place in the order of submission to its record, if the score of its claim holds it.
local function in_order(record, score)
  local seq = record ~= '' and tonumber(score or '0') % 137438953472 or 0
  return seq > 0 and '{"n":' .. int(seq) .. ',' .. string.sub(record, 2) or record
end

-- Finished tasks by batch. BATCH_RATE[batch] = "BUCKET:COUNT,…", the last twelve buckets of 5 s.
done.by_batch = {}
function done.of_batch(line)
  local batch = members.batch_of(line)
  if batch ~= '' then done.by_batch[batch] = (done.by_batch[batch] or 0) + 1 end
end
function done.batch_rates()
  local bucket = math.floor(now / 5000)
  for batch, n in pairs(done.by_batch) do
    local kept = {}
    for at, count in string.gmatch(redis.call('HGET', BATCH_RATE, batch) or '', '(%d+):(%d+)') do
      if tonumber(at) == bucket then n = n + tonumber(count)
      elseif tonumber(at) > bucket - 12 and tonumber(at) < bucket then kept[#kept + 1] = at .. ':' .. count end
    end
    kept[#kept + 1] = int(bucket) .. ':' .. int(n)
    redis.call('HSET', BATCH_RATE, batch, table.concat(kept, ','))
  end
end

-- Adds the peak of a finished task to what is known of its family: the one that it names, or its batch or step (model/family.rs), or its command.
local function learn(line, class, family, peak)
  local is_named = string.byte(family) == 61
  local member = not is_named and members.parts_of(line)
  if is_named then
    family = string.sub(family, 2)
  elseif member then
    member.family = member.family or string.sub(string.gsub(member.first, '/', '.'), -64)
    family = member.family
  end
  learning.note(family, peak, is_named, class, member and member.batch or '')
end

local function count(what)
  counts[what] = (counts[what] or 0) + 1
end

for i = ARG.size + 1, #ARGV, EACH.size do
  local op, line, token, id, value, record, class = ARGV[i + EACH.op], ARGV[i + EACH.line], ARGV[i + EACH.token], ARGV[i + EACH.id], ARGV[i + EACH.value], ARGV[i + EACH.record], ARGV[i + EACH.class]
  local at = (i - ARG.size - 1) / EACH.size + 1
  local owner, claim, answer = owners[at], claimed[at], nil
  if not known[line] then
    done.flush()
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
      -- It waits again: should this call be repeated, the result of this attempt is not that of the next.
      if string.sub(mark, 1, 8) == 'requeue|' then redis.call('HSET', REFUSED, token .. '|' .. line, int(now / 1000)) end
      carry_out(line, mark, CLAIMS, REVOKED)
      answer = 'ordered'
    end
  elseif owner then
    answer = 'lost'
  else
    local past = redis.call('HGET', EVIDENCE, id)
    -- The stored record begins with its date and its place in the order of submission; the rest must match.
    if record ~= '' and past and string.find(past, string.sub(record, 2), 1, true) then
      answer = 'dup'
    elseif redis.call('HEXISTS', REFUSED, token .. '|' .. line) == 1 then
      answer = 'gone'
    elseif op == 'F' and is_waiting(line) then
      answer = 'late'
      attempt = 2
    elseif op == 'F' and force and redis.call('HEXISTS', FINISHED, line) == 0 then
      attempt = 2
    else
      answer = 'gone'
    end
    -- Somebody has removed the line from in_progress_tasks: the claim ends with its last outcome.
    if claim and claim_parts(claim) == token then
      drop_claim(line, CLAIMS)
      limits.let_go(line)
    end
  end

  if answer == nil or answer == 'late' then
    if ARGV[i + EACH.run_ms] ~= '' then spread.note('run', tonumber(ARGV[i + EACH.run_ms])) end
    -- The task has ended by itself, so it did not kill its worker.
    if op ~= 'R' and has_suspects() then redis.call('HDEL', APART, line) end
    if op == 'F' then
      local has_failed = has_failures and redis.call('HEXISTS', FAILED, line) == 1
      if attempt == 1 and not has_failed then
        local n = #done.values
        done.values[n + 1], done.values[n + 2] = line, value
        done.records[n + 1], done.records[n + 2] = id, dated(in_order(record, score), now)
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
          no_longer_wait { line }
          index_forget(class, line)
        end
        if has_failed then
          -- With more memory, or as another line, it was not tried under the same conditions.
          if not grown.of(line) and redis.call('HEXISTS', EDITED, line) == 0 then
            blame.finished_elsewhere(redis.call('HGET', FAILED, line), worker, id, redis.call('HGET', KINDS, line) or '', now)
          end
          failure_clear(line)
        end
      end
      done.lines[#done.lines + 1] = line
      grown.drop(line)
      members.flip(line, 'd')
      done.of_batch(line)
      if ARGV[i + EACH.peak] ~= '' then learn(line, class, ARGV[i + EACH.family], tonumber(ARGV[i + EACH.peak])) end
      if ARGV[i + EACH.mem_part] ~= '' then spread.note('mem', tonumber(ARGV[i + EACH.mem_part])) end
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
      local failures = select(2, string.gsub(workers, ',', ','))
      local is_retried = op == 'X' and failures < max_retry
      local more = ''
      if ARGV[i + EACH.more_mem] ~= '' then
        more = is_retried and grown.raise(line, class, tonumber(ARGV[i + EACH.more_mem]), tonumber(ARGV[i + EACH.node_mem])) or ''
        -- The worker has marked where the reason says so.
        value = string.gsub(value, '\\u0001', more ~= '' and '; the next attempt declares ' .. gb_text(more) .. ' GB' or '', 1)
      end
      redis.call('HSET', FAILED, line, workers)
      redis.call('HSET', REASON, line, value)
      group_put(line, ARGV[i + EACH.group])
      has_failures = true
      if record ~= '' then evidence_add(id, in_order(record, score)) end
      redis.call('HSET', ATTEMPTS, line, attempt)
      count('failed')
      blame.failed_here(worker, now)
      if ARGV[i + EACH.outcome] == 'timed_out' then count('timed_out') end
      if is_retried then
        local delay_ms = backoff(tonumber(ARGV[i + EACH.backoff]), failures, id)
        will_be_retried(line)
        put_back(line, class, score or int(sequence(1)), workers, now, delay_ms, avoid_ms)
        answer = more ~= '' and 'more' or 'retry'
        count('retried')
      else
        grown.drop(line)
        is_not_retried(line)
        redis.call('HDEL', ATTEMPTS, line)
        redis.call('HDEL', LOST, line)
        finals = finals + 1
        members.flip(line, 'x')
        turns.failed(line)
        answer = 'final'
      end
      leave_progress({ line }, CLAIMS)
      events[#events + 1] = (is_retried and '\nX\t' or '\nZ\t') .. id .. '\t' .. class .. '\t' .. string.sub(record, 1, head) .. '\t' .. ARGV[i + EACH.group]
        .. (more ~= '' and '\t' .. int(more) or '')
    end
  end
  replies[#replies + 1] = answer
end

done.flush()
if counts.finished then blame.clear(worker) end
if finals > 0 then
  rate_add(now, finals, 'f')
  redis.call('HINCRBY', TALLY, 'final', finals)
end
spread.flush()
for what, n in pairs(counts) do
  redis.call('HINCRBY', TALLY, what, n)
  redis.call('HINCRBY', TALLY, what .. ':' .. worker, n)
end
members.flush(turns.at_zero)
done.batch_rates()
learning.flush()
if members.exist() then gates.release(32) end
index_flush()
if #events > 0 then
  events[1] = 'S\t' .. worker .. events[1]
  events_flush('\t')
end
wake_idle()
return replies
