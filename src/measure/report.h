// Measured figures for people and for programs: text, Markdown, CSV and JSON, all from one value.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace onrush::measure {

using Json = nlohmann::ordered_json;

// A value as a program wants it and as people read it. Empty: there is no figure.
struct Cell {
  Cell() = default;
  Cell(const char* text) : value(text), shown(text) {}             // NOLINT: implicit by intent
  Cell(std::string text) : value(text), shown(std::move(text)) {}  // NOLINT
  Cell(Json value, std::string shown) : value(std::move(value)), shown(std::move(shown)) {}

  Json value;
  std::string shown;
};
Cell number(double value, int digits = 3);  // shown with so many significant digits
Cell count(uint64_t value);
Cell megabytes(uint64_t bytes);  // 10^6 bytes; the value is in bytes

struct Column {
  std::string key;    // in JSON and CSV: "median_ms"
  std::string title;  // for people: "median, ms"
};

// The first column names its rows. A row may be shorter than the list of columns.
struct Table {
  std::string key;    // in JSON: "latency"
  std::string title;  // may be empty
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
};

struct Report {
  std::vector<std::pair<std::string, Cell>> facts;  // "model", "device", ...
  std::vector<Table> tables;
  std::vector<std::string> remarks;  // verdicts and warnings, a sentence each
  Json details;                      // for programs only, as single samples; may be null
};

// Both leave out tables without rows.
std::string text(const Report& report);
std::string markdown(const Report& report);
std::string csv(const Table& table);  // RFC 4180, with a line of keys
Json json(const Report& report);

std::string text(const Table& table);
std::string markdown(const Table& table);

std::string significant(double value, int digits);  // "26.5", "0.0123", "1850"
std::string duration(double us);                    // "26.5 us", "1.85 ms"
// On one line if `indent` is negative; bytes that are no UTF-8 become U+FFFD.
std::string dump(const Json& value, int indent = -1);

}  // namespace onrush::measure
