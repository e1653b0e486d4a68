// Days, as lists of chats are parted by them.

const DAY = 86_400_000;
const month = new Intl.DateTimeFormat("en", { month: "long" });

/** When a day began, in milliseconds; of today where nothing is given. */
export function dayOf(ms = Date.now()) {
  return new Date(ms).setHours(0, 0, 0, 0);
}

/** The part of a list that something of a time (seconds since 1970) is in: {key, label, rank}; later parts rank higher. */
export function partOf(seconds, today = dayOf()) {
  const day = dayOf(seconds * 1000);
  // Rounded: where the clocks change a day is 23 or 25 hours long.
  const ago = Math.round((today - day) / DAY);
  if (ago <= 0) return { key: "today", label: "Today", rank: 1e15 };
  if (ago === 1) return { key: "yesterday", label: "Yesterday", rank: 1e15 - 1 };
  if (ago <= 7) return { key: "week", label: "Previous 7 days", rank: 1e15 - 2 };
  const date = new Date(day);
  const [year, number] = [date.getFullYear(), date.getMonth()];
  const thisYear = year === new Date(today).getFullYear();
  return { key: `${year}-${number}`, label: thisYear ? month.format(date) : `${month.format(date)} ${year}`, rank: year * 12 + number };
}

/** How long until something, in words: "23 h", "2 days", "40 s". */
export function until(seconds) {
  const left = Math.max(0, Math.round(seconds - Date.now() / 1000));
  if (left < 90) return `${left} s`;
  if (left < 90 * 60) return `${Math.round(left / 60)} min`;
  if (left < 48 * 3600) return `${Math.round(left / 3600)} h`;
  return `${Math.round(left / 86_400)} days`;
}

/** A stretch of time in seconds, in words. */
export function stretch(seconds) {
  const units = [[86_400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, name] = units.find(([size]) => seconds >= size && seconds % size === 0) ?? units.find(([size]) => seconds >= size) ?? [1, "second"];
  const count = Math.round(seconds / size);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}
