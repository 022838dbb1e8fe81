#include "measure/report.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace onrush::measure {
namespace {

constexpr std::string_view kNoFigure = "-";

// Characters, not bytes, of UTF-8.
size_t width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string_view shown(const Table& table, size_t row, size_t column) {
  const auto& cells = table.rows[row];
  if (column >= cells.size() || cells[column].shown.empty()) return kNoFigure;
  return cells[column].shown;
}

// Columns of numbers are set flush right.
bool is_numeric(const Table& table, size_t column) {
  bool any = false;
  for (const auto& row : table.rows) {
    if (column >= row.size() || row[column].value.is_null()) continue;
    if (!row[column].value.is_number()) return false;
    any = true;
  }
  return any;
}

std::vector<size_t> widths(const Table& table) {
  std::vector<size_t> result;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    size_t widest = width(table.columns[i].title);
    for (size_t row = 0; row < table.rows.size(); ++row)
      widest = std::max(widest, width(shown(table, row, i)));
    result.push_back(widest);
  }
  return result;
}

std::string padded(std::string_view text, size_t wanted, bool right) {
  const std::string space(wanted - std::min(wanted, width(text)), ' ');
  return right ? space + std::string(text) : std::string(text) + space;
}

// One line of a table: `cell(i)` between separators.
template <class CellText>
std::string line(size_t columns, std::string_view before, std::string_view between,
                 std::string_view after, const CellText& cell) {
  std::string result(before);
  for (size_t i = 0; i < columns; ++i) {
    if (i) result += between;
    result += cell(i);
  }
  result += after;
  while (!result.empty() && result.back() == ' ') result.pop_back();
  return result + "\n";
}

// A table whose cells have one line each. Of longer ones the first stays, with the number of a note
// that says it all.
struct Noted {
  Table table;
  std::vector<std::string> notes;
};

Noted with_notes(Table table) {
  std::vector<std::string> notes;
  for (auto& row : table.rows)
    for (Cell& cell : row) {
      const size_t end = cell.shown.find('\n');
      if (end == std::string::npos) continue;
      const auto found = std::ranges::find(notes, cell.shown);
      const auto number = found - notes.begin() + 1;
      if (found == notes.end()) notes.push_back(cell.shown);
      cell.shown = fmt::format("{} [{}]", cell.shown.substr(0, end), number);
    }
  return {std::move(table), std::move(notes)};
}

std::string csv_cell(std::string text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  for (size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2)
    text.insert(at, 1, '"');
  return '"' + text + '"';
}

std::string rows(const Table& table, std::string_view before, std::string_view between,
                 std::string_view after, std::string_view rule) {
  const std::vector<size_t> wide = widths(table);
  std::vector<char> right;
  for (size_t i = 0; i < table.columns.size(); ++i) right.push_back(is_numeric(table, i));
  const auto print = [&](const auto& cell) {
    return line(table.columns.size(), before, between, after,
                [&](size_t i) { return padded(cell(i), wide[i], right[i]); });
  };
  std::string result = print([&](size_t i) -> std::string_view { return table.columns[i].title; });
  if (!rule.empty())
    result += line(table.columns.size(), before, between, after, [&](size_t i) {
      return std::string(wide[i] - (right[i] ? 1 : 0), '-') + (right[i] ? ":" : "");
    });
  for (size_t row = 0; row < table.rows.size(); ++row)
    result += print([&](size_t i) { return shown(table, row, i); });
  return result;
}

}  // namespace

std::string significant(double value, int digits) {
  if (value == 0 || !std::isfinite(value)) return fmt::format("{}", value);
  if (std::abs(value) < 1e-4) return fmt::format("{:.{}e}", value, digits - 1);
  // Rounding may carry into another digit: 9.996 is 10.0.
  const double rounded = std::stod(fmt::format("{:.{}e}", value, digits - 1));
  const int whole = static_cast<int>(std::floor(std::log10(std::abs(rounded)))) + 1;
  return fmt::format("{:.{}f}", value, std::max(0, digits - whole));
}

std::string duration(double us) {
  return us >= 1000 ? significant(us / 1000, 3) + " ms" : significant(us, 3) + " us";
}

Cell number(double value, int digits) { return {value, significant(value, digits)}; }
Cell count(uint64_t value) { return {value, fmt::format("{}", value)}; }
Cell megabytes(uint64_t bytes) { return {bytes, significant(static_cast<double>(bytes) / 1e6, 3)}; }

std::string dump(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string text(const Table& table) {
  const auto [noted, notes] = with_notes(table);
  std::string result = (table.title.empty() ? "" : table.title + "\n");
  result += rows(noted, "", "  ", "", "");
  for (size_t i = 0; i < notes.size(); ++i) result += fmt::format("[{}] {}\n", i + 1, notes[i]);
  return result;
}

std::string markdown(const Table& table) {
  auto [escaped, notes] = with_notes(table);
  for (auto& row : escaped.rows)
    for (Cell& cell : row)
      for (size_t at = 0; (at = cell.shown.find('|', at)) != std::string::npos; at += 2)
        cell.shown.insert(at, 1, '\\');
  std::string result = table.title.empty() ? "" : "### " + table.title + "\n\n";
  result += rows(escaped, "| ", " | ", " |", "-");
  for (size_t i = 0; i < notes.size(); ++i)
    result += fmt::format("\n[{}]\n```\n{}\n```\n", i + 1, notes[i]);
  return result;
}

std::string csv(const Table& table) {
  const size_t columns = table.columns.size();
  std::string result =
      line(columns, "", ",", "", [&](size_t i) { return csv_cell(table.columns[i].key); });
  for (const auto& row : table.rows)
    result += line(columns, "", ",", "", [&](size_t i) {
      if (i >= row.size() || row[i].value.is_null()) return std::string();
      const Json& value = row[i].value;
      return csv_cell(value.is_string() ? value.get<std::string>() : dump(value));
    });
  return result;
}

std::string text(const Report& report) {
  std::string result;
  for (const auto& [name, cell] : report.facts) {
    if (!result.empty()) result += ", ";
    result += name + ": " + cell.shown;
  }
  if (!result.empty()) result += "\n";
  for (const Table& table : report.tables)
    if (!table.rows.empty()) result += "\n" + text(table);
  if (!report.remarks.empty()) result += "\n";
  for (const std::string& remark : report.remarks) result += remark + "\n";
  return result;
}

std::string markdown(const Report& report) {
  std::string result;
  for (const Table& table : report.tables)
    if (!table.rows.empty()) result += markdown(table) + "\n";
  for (const std::string& remark : report.remarks) result += "- " + remark + "\n";
  if (!report.remarks.empty()) result += "\n";
  std::string facts;
  for (const auto& [name, cell] : report.facts)
    facts += (facts.empty() ? "" : "; ") + name + ": " + cell.shown;
  return facts.empty() ? result : result + facts + ".\n";
}

Json json(const Report& report) {
  Json result = Json::object();
  for (const auto& [name, cell] : report.facts) result[name] = cell.value;
  for (const Table& table : report.tables) {
    Json& list = result[table.key] = Json::array();
    for (const auto& row : table.rows) {
      Json object = Json::object();
      for (size_t i = 0; i < row.size(); ++i)
        if (!row[i].value.is_null()) object[table.columns[i].key] = row[i].value;
      list.push_back(std::move(object));
    }
  }
  result["remarks"] = report.remarks;
  if (!report.details.is_null()) result["details"] = report.details;
  return result;
}

}  // namespace onrush::measure
