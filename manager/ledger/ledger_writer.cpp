#include <base/system_text.hpp>

#include <fcntl.h>
#include <ledger/ledger_writer.hpp>
#include <ledger/schema.hpp>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>

namespace sublet::manager {
namespace {

/// Users and nodes whose rows are known without looking.
constexpr std::size_t kMaxRemembered = 1u << 17;

/// As large as SQLite's integers get.
std::int64_t clamp(std::uint64_t value) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(std::min(value, kMost));
}

/// As wire::write rounds it, so that the same usage is the same number however it came here.
std::int64_t ms_of(double seconds) {
  constexpr double kMostMs = 1e18;
  return std::llround(std::clamp(seconds * 1000, 0.0, kMostMs));
}

struct Interval {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// The node's word of how long it held the grant counts, to the millisecond. Begin and end as the
/// resource manager heard of them may be late: the earlier ones that fit are taken.
Interval settle(std::int64_t begin, std::int64_t end, std::int64_t held) {
  if (end - begin >= held) return {begin, begin + held};
  return {end - held, end};
}

/// "alice@n1": the name of the user.
std::string user_name(const std::string& owner) {
  return owner.substr(0, owner.find('@'));
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

/// A line for each: what it is called comes last, since it may have any characters.
std::string joined(const std::vector<GpuInfo>& gpus) {
  std::string text;
  for (const GpuInfo& gpu : gpus) {
    text += gpu.uuid + " " + std::to_string(gpu.memory_bytes) + " " + gpu.name + "\n";
  }
  return text;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::vector<GpuInfo> split_gpus(const std::string& text) {
  std::vector<GpuInfo> gpus;
  for (const std::string& line : split(text)) {
    const std::size_t memory = std::min(line.find(' '), line.size());
    const std::size_t name = std::min(line.find(' ', memory + 1), line.size());
    GpuInfo gpu{line.substr(0, memory), {}, 0};
    gpu.memory_bytes = std::strtoull(line.c_str() + memory, nullptr, 10);
    if (name < line.size()) gpu.name = line.substr(name + 1);
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

/// A small file is looked through at the start: what is damaged is better found now. Larger ones
/// are looked through by `sublet ledger verify`.
void check_pages(Database& database) {
  constexpr std::int64_t kMostBytes = std::int64_t{64} << 20;
  if (database.number("PRAGMA page_count") * database.number("PRAGMA page_size") > kMostBytes)
    return;
  const std::string found = database.text("PRAGMA quick_check(1)");
  if (found == "ok") return;
  throw Error(ErrorKind::kInvalid,
              "the ledger " + database.path() + " is damaged: " + found + "; " + kHowToRestore);
}

/// Readable by this user alone: it holds tokens of grants.
Database open_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) {
    const int error = errno;
    throw Error(ErrorKind::kInvalid, "opening the ledger " + path + ": " + base::system_text(error),
                error);
  }
  ::close(file);
  Database database(path, Database::Access::kWrite);
  prepare_schema(database);
  if (database.text("PRAGMA journal_mode = WAL") != "wal") {
    throw Error(ErrorKind::kInvalid,
                "the file system of " + path +
                    " does not support SQLite's write-ahead log; give --state-dir a directory on a "
                    "local one");
  }
  database.run(
      "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; "
      "PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536");
  check_pages(database);
  return database;
}

}  // namespace

LedgerWriter::LedgerWriter(const std::string& path)
    : database_(open_file(path)),
      begin_(database_, "BEGIN IMMEDIATE"),
      commit_(database_, "COMMIT"),
      put_node_(database_,
                "INSERT INTO nodes (node_id, name, cores, memory_bytes, cpuset, addresses, "
                "widest_worker, gpus) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (node_id) DO "
                "UPDATE SET "
                "name = excluded.name, cores = excluded.cores, "
                "memory_bytes = excluded.memory_bytes, cpuset = excluded.cpuset, "
                "addresses = excluded.addresses, widest_worker = excluded.widest_worker, "
                "gpus = excluded.gpus"),
      get_node_(database_, "SELECT id FROM nodes WHERE node_id = ?"),
      put_user_(database_, "INSERT OR IGNORE INTO users (uid, name) VALUES (?, ?)"),
      get_user_(database_, "SELECT id FROM users WHERE uid = ? AND name = ?"),
      put_lease_(database_,
                 "INSERT OR IGNORE INTO leases (id, user, owner, slurm_job, price) "
                 "VALUES (?, ?, ?, ?, ?)"),
      put_entry_(
          database_,
          "INSERT INTO ledger (lease, part, node, cores, memory_bytes, node_cores, begin_ms, gpus, "
          "node_gpus) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (lease, part, node) DO UPDATE "
          "SET "
          "begin_ms = min(begin_ms, excluded.begin_ms), end_ms = NULL, how = NULL, "
          "reason = NULL, node_cores = excluded.node_cores, node_gpus = excluded.node_gpus"),
      get_entry_(
          database_,
          "SELECT id, begin_ms, cores FROM ledger WHERE lease = ? AND part = ? AND node = ?"),
      put_grant_(database_,
                 "INSERT OR REPLACE INTO grants (entry, workers, cores_per_worker, token, "
                 "expires_ms, hot_timeout_ms, slots, arena_bytes, notice_ms, priority, "
                 "gpus_per_worker, claimed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"),
      claim_(database_, "UPDATE grants SET claimed = 1 WHERE entry = ?"),
      extend_(database_, "UPDATE grants SET expires_ms = ? WHERE entry = ?"),
      use_(database_,
           "UPDATE ledger SET core_ms = ?, hot_poll_ns = ?, compute_ns = ?, calls = ?, "
           "bytes_in = ?, bytes_out = ?, gpu_ms = ? WHERE id = ?"),
      close_(database_,
             // What was held began no later than it lasted; that a node held it may be heard late.
             "UPDATE ledger SET begin_ms = min(?1, ?2 - core_ms / cores), end_ms = ?2, how = ?3, "
             "reason = ?4 WHERE id = ?5"),
      drop_grant_(database_, "DELETE FROM grants WHERE entry = ?"),
      number_(database_, "UPDATE numbers SET unused_lease = max(unused_lease, ?)"),
      put_quota_(database_,
                 "INSERT OR REPLACE INTO quotas (uid, cores, core_seconds) VALUES (?, ?, ?)"),
      drop_quota_(database_, "DELETE FROM quotas WHERE uid = ?") {}

std::vector<OpenGrant> LedgerWriter::open_grants() {
  Statement all(database_,
                "SELECT ledger.lease, ledger.part, grants.workers, grants.cores_per_worker, "
                "ledger.memory_bytes, grants.token, grants.expires_ms, grants.hot_timeout_ms, "
                "grants.slots, grants.arena_bytes, leases.owner, users.uid, leases.slurm_job, "
                "grants.claimed, nodes.name, nodes.node_id, nodes.cores, nodes.memory_bytes, "
                "nodes.cpuset, nodes.addresses, nodes.widest_worker, ledger.calls, "
                "ledger.compute_ns, ledger.hot_poll_ns, ledger.bytes_in, ledger.bytes_out, "
                "ledger.core_ms, grants.notice_ms, grants.priority, grants.gpus_per_worker, "
                "nodes.gpus, ledger.gpu_ms "
                "FROM grants JOIN ledger ON ledger.id = grants.entry "
                "JOIN leases ON leases.id = ledger.lease JOIN users ON users.id = leases.user "
                "JOIN nodes ON nodes.id = ledger.node ORDER BY ledger.id");
  const auto unsigned_at = [&all](int column) {
    return static_cast<std::uint64_t>(all.number(column));
  };
  const auto small_at = [&all](int column) {
    return static_cast<std::uint32_t>(all.number(column));
  };
  std::vector<OpenGrant> grants;
  while (all.next()) {
    OpenGrant grant;
    GrantTerms& terms = grant.terms;
    terms.key.lease = LeaseId{unsigned_at(0)};
    terms.key.part = small_at(1);
    terms.workers = small_at(2);
    terms.cores_per_worker = small_at(3);
    terms.memory_bytes = unsigned_at(4);
    const auto token = all.blob(5);
    if (token.size() == sizeof(Token)) std::memcpy(terms.token.data(), token.data(), token.size());
    terms.expires = Time(milliseconds(all.number(6)));
    terms.hot_timeout_ms = all.number(7);
    terms.slots = small_at(8);
    terms.arena_bytes = unsigned_at(9);
    terms.owner = all.text(10);
    terms.owner_uid = small_at(11);
    terms.slurm_job = small_at(12);
    terms.claimed = all.number(13) != 0;
    grant.node.name = all.text(14);
    grant.node.node_id = all.text(15);
    grant.node.cores = small_at(16);
    grant.node.memory_bytes = unsigned_at(17);
    grant.node.cpuset = all.text(18);
    grant.node.addresses = split(all.text(19));
    grant.node.widest_worker = small_at(20);
    grant.usage.invocations = unsigned_at(21);
    grant.usage.compute_ns = unsigned_at(22);
    grant.usage.hot_poll_ns = unsigned_at(23);
    grant.usage.bytes_in = unsigned_at(24);
    grant.usage.bytes_out = unsigned_at(25);
    grant.usage.core_seconds = static_cast<double>(all.number(26)) / 1000.0;
    terms.notice = milliseconds(all.number(27));
    terms.priority = static_cast<std::int32_t>(all.number(28));
    terms.gpus_per_worker = small_at(29);
    grant.node.gpus = split_gpus(all.text(30));
    grant.usage.gpu_seconds = static_cast<double>(all.number(31)) / 1000.0;
    grants.push_back(std::move(grant));
  }
  return grants;
}

std::uint64_t LedgerWriter::unused_lease() {
  return static_cast<std::uint64_t>(database_.number("SELECT unused_lease FROM numbers"));
}

LeaseRecords::Quotas LedgerWriter::quotas() {
  Statement all(database_, "SELECT uid, cores, core_seconds FROM quotas");
  const auto value = [&all](int column) -> std::optional<std::uint64_t> {
    if (all.is_null(column)) return std::nullopt;
    return static_cast<std::uint64_t>(all.number(column));
  };
  LeaseRecords::Quotas quotas;
  while (all.next()) {
    const std::int64_t uid = all.number(0);
    quotas.emplace_back(
        uid == kEverybody ? std::nullopt : std::optional(static_cast<std::uint32_t>(uid)),
        wire::LeaseQuota{value(1), value(2)});
  }
  return quotas;
}

std::vector<std::pair<std::uint32_t, std::int64_t>> LedgerWriter::used_since(Time begin, Time now) {
  Statement sums(database_,
                 "SELECT uid, sum(core_ms * CASE WHEN begin_ms >= ?1 THEN 1.0 "
                 "ELSE (coalesce(end_ms, ?2) - ?1) * 1.0 / "
                 "max(1, coalesce(end_ms, ?2) - begin_ms) END) "
                 "FROM ledger JOIN leases ON leases.id = ledger.lease "
                 "JOIN users ON users.id = leases.user "
                 "WHERE end_ms IS NULL OR end_ms > ?1 GROUP BY uid");
  sums.bind(to_unix_ms(begin)).bind(to_unix_ms(std::max(begin, now)));
  std::vector<std::pair<std::uint32_t, std::int64_t>> used;
  while (sums.next()) {
    used.emplace_back(static_cast<std::uint32_t>(sums.number(0)), std::llround(sums.real(1)));
  }
  return used;
}

void LedgerWriter::set_prices(const Prices& prices, Time now) {
  Statement last(database_,
                 "SELECT id, core_hour, memory_gib_hour, hot_poll_hour, compute_hour, gpu_hour "
                 "FROM prices "
                 "ORDER BY id DESC LIMIT 1");
  if (last.next()) {
    price_ = last.number(0);
    const bool same = last.real(1) == prices.core_hour && last.real(2) == prices.memory_gib_hour &&
                      last.real(3) == prices.hot_poll_hour && last.real(4) == prices.compute_hour &&
                      last.real(5) == prices.gpu_hour;
    last.reset();
    if (same) return;
  }
  Statement add(database_,
                "INSERT INTO prices (since_ms, core_hour, memory_gib_hour, hot_poll_hour, "
                "compute_hour, gpu_hour) VALUES (?, ?, ?, ?, ?, ?)");
  add.bind(to_unix_ms(now))
      .bind(prices.core_hour)
      .bind(prices.memory_gib_hour)
      .bind(prices.hot_poll_hour)
      .bind(prices.compute_hour)
      .bind(prices.gpu_hour)
      .run();
  price_ = database_.number("SELECT max(id) FROM prices");
}

// ---- a commit ----

Result<void> LedgerWriter::commit(const Changes& changes) {
  try {
    begin_.run();
    write(changes);
    commit_.run();
    return {};
  } catch (const Error& error) {
    database_.roll_back();
    // Rows that were made in it are gone.
    entries_.clear();
    nodes_.clear();
    users_.clear();
    return tl::unexpected<Error>(error);
  }
}

void LedgerWriter::write(const Changes& changes) {
  for (const auto& [id, node] : changes.nodes) {
    put_node_.bind(id)
        .bind(node.name)
        .bind(std::int64_t{node.cores})
        .bind(clamp(node.memory_bytes))
        .bind(node.cpuset)
        .bind(joined(node.addresses))
        .bind(std::int64_t{node.widest_worker})
        .bind(joined(node.gpus))
        .run();
  }
  for (const auto& [key, change] : changes.entries) {
    if (change.opened) {
      const auto node = changes.nodes.find(key.node_id);
      const GrantTerms& terms = change.opened->terms;
      const bool known = node != changes.nodes.end();
      open_entry(key, *change.opened,
                 {known ? node->second.cores : terms.cores(),
                  known ? static_cast<std::uint32_t>(node->second.gpus.size()) : terms.gpus()});
    }
    write(key, change);
  }
  if (changes.unused_lease != 0) number_.bind(clamp(changes.unused_lease)).run();
  for (const auto& [uid, quota] : changes.quotas) write(uid, quota);
}

void LedgerWriter::write(std::int64_t uid, const std::optional<wire::LeaseQuota>& quota) {
  if (!quota) {
    drop_quota_.bind(uid).run();
    return;
  }
  put_quota_.bind(uid);
  for (const auto& value : {quota->cores, quota->core_seconds}) {
    value ? put_quota_.bind(clamp(*value)) : put_quota_.bind_null();
  }
  put_quota_.run();
}

void LedgerWriter::open_entry(const EntryKey& key, const EntryChange::Opening& opening,
                              const NodeSize& node) {
  const GrantTerms& terms = opening.terms;
  put_lease_.bind(clamp(number(key.lease)))
      .bind(user_of(terms))
      .bind(terms.owner)
      .bind(std::int64_t{terms.slurm_job})
      .bind(price_)
      .run();
  const std::int64_t added = put_entry_.bind(clamp(number(key.lease)))
                                 .bind(std::int64_t{key.part})
                                 .bind(node_of(key.node_id))
                                 .bind(std::int64_t{terms.cores()})
                                 .bind(clamp(terms.memory_bytes))
                                 .bind(std::int64_t{node.cores})
                                 .bind(to_unix_ms(opening.begin))
                                 .bind(std::int64_t{terms.gpus()})
                                 .bind(std::int64_t{node.gpus})
                                 .run_insert();
  if (added == 0) {
    entries_.erase(key);  // it begins earlier, perhaps
  } else {
    remember(key, {added, to_unix_ms(opening.begin), terms.cores()});
  }
}

void LedgerWriter::write(const EntryKey& key, const EntryChange& change) {
  const Entry* const known = find(key);
  if (known == nullptr) return;  // it is of no grant that was opened
  const std::int64_t entry = known->id;
  const std::int64_t begin = known->begin;
  const std::int64_t cores = std::max<std::int64_t>(1, known->cores);
  if (change.opened && !change.closed) {
    const GrantTerms& terms = change.opened->terms;
    put_grant_.bind(entry)
        .bind(std::int64_t{terms.workers})
        .bind(std::int64_t{terms.cores_per_worker})
        .bind(std::as_bytes(std::span(terms.token)))
        .bind(to_unix_ms(terms.expires))
        .bind(terms.hot_timeout_ms)
        .bind(std::int64_t{terms.slots})
        .bind(clamp(terms.arena_bytes))
        .bind(std::int64_t{terms.notice.count()})
        .bind(std::int64_t{terms.priority})
        .bind(std::int64_t{terms.gpus_per_worker})
        .run();
  }
  if (change.claimed && !change.closed) claim_.bind(entry).run();
  if (change.expires && !change.closed) extend_.bind(to_unix_ms(*change.expires)).bind(entry).run();
  if (change.usage) {
    const Usage& usage = *change.usage;
    use_.bind(ms_of(usage.core_seconds))
        .bind(clamp(usage.hot_poll_ns))
        .bind(clamp(usage.compute_ns))
        .bind(clamp(usage.invocations))
        .bind(clamp(usage.bytes_in))
        .bind(clamp(usage.bytes_out))
        .bind(ms_of(usage.gpu_seconds))
        .bind(entry)
        .run();
  }
  if (change.closed) {
    const std::int64_t end = to_unix_ms(change.closed->end);
    Interval interval{begin, std::max(begin, end)};
    if (change.closed->how == GrantEnd::kReported && change.usage) {
      interval = settle(begin, end, ms_of(change.usage->core_seconds) / cores);
    }
    close_.bind(interval.begin)
        .bind(interval.end)
        .bind(static_cast<std::int64_t>(change.closed->how))
        .bind(change.closed->reason)
        .bind(entry)
        .run();
    drop_grant_.bind(entry).run();
    entries_.erase(key);
  }
}

const LedgerWriter::Entry* LedgerWriter::find(const EntryKey& key) {
  if (const auto known = entries_.find(key); known != entries_.end()) return &known->second;
  get_entry_.bind(clamp(number(key.lease))).bind(std::int64_t{key.part}).bind(node_of(key.node_id));
  if (!get_entry_.next()) return nullptr;
  const Entry entry{get_entry_.number(0), get_entry_.number(1), get_entry_.number(2)};
  get_entry_.reset();
  return &remember(key, entry);
}

LedgerWriter::Entry& LedgerWriter::remember(const EntryKey& key, const Entry& entry) {
  if (entries_.size() >= kMaxRemembered) entries_.clear();
  return entries_[key] = entry;
}

std::int64_t LedgerWriter::user_of(const GrantTerms& terms) {
  const std::pair<std::int64_t, std::string> key(terms.owner_uid, user_name(terms.owner));
  if (const auto known = users_.find(key); known != users_.end()) return known->second;
  put_user_.bind(key.first).bind(key.second).run();
  get_user_.bind(key.first).bind(key.second);
  const std::int64_t id = get_user_.next() ? get_user_.number(0) : 0;
  get_user_.reset();
  if (users_.size() >= kMaxRemembered) users_.clear();
  return users_[key] = id;
}

std::int64_t LedgerWriter::node_of(const std::string& node_id) {
  if (const auto known = nodes_.find(node_id); known != nodes_.end()) return known->second;
  get_node_.bind(node_id);
  const std::int64_t id = get_node_.next() ? get_node_.number(0) : 0;
  get_node_.reset();
  if (id != 0) {
    if (nodes_.size() >= kMaxRemembered) nodes_.clear();
    nodes_[node_id] = id;
  }
  return id;
}

}  // namespace sublet::manager
