/* SPDX-License-Identifier: GPL-2.0-only WITH GCC-exception-2.0 */
/* slotrecord: what is written is read back; what was edited is not believed. */
#include "sandbox.h"
#include "slot.h"

#define TEXT(t) ((char *)(t)) /* a record owns its texts; these are only lent */

#define LEASE "0193f2a4c1d7aabbccddeeff00112233"
#define OWNER \
	"\"owner\":{\"pid\":7,\"start\":\"55\",\"pid_ns\":\"4026531836\",\"time_ns\":\"0\"," \
	"\"boot\":\"b\",\"host\":" \
	"\"h\"}"
#define TAIL "\"since\":5,\"expires\":0,\"ttl\":0,\"uid\":1000"
#define GOOD \
	"{\"slot\":\"default-1\",\"phase\":\"leased\",\"lease\":\"" LEASE \
	"\",\"kind\":\"command\"," TAIL "," OWNER "}"

static struct slot_record sample(void)
{
	static struct procid before[2] = {
		{.pid = 1, .start = 1, .pid_ns = 2, .boot = "b", .host = "h"},
		{.pid = 2, .start = 3, .time_ns = 4, .boot = "b", .host = "h"},
	};

	return (struct slot_record){
		.phase = SLOT_LEASED,
		.lease = TEXT(LEASE),
		.kind = LEASE_OWNER,
		.key = TEXT("task/7"),
		.branch = TEXT("refs/heads/caf\xe9"), /* Latin-1: git takes it, JSON does not */
		.base = TEXT("0123456789012345678901234567890123456789"),
		.since = 1790000000,
		.expires = INT64_MAX,
		.ttl = INT64_MAX,
		.uid = UINT32_MAX,
		.owner = {.pid = 4194304,
			  .start = UINT64_MAX,
			  .pid_ns = 4026531836,
			  .boot = "4a3c8a5e-5a63-4b0e-9c1f-6f2f2f0f5a11",
			  .host = "e5f1c2d3e4f5061728394a5b6c7d8e9f"},
		.before = before,
		.before_count = 2,
		.command = TEXT("sh -c 'echo \"\x1b[31m\n$(x)`\"'"),
	};
}

static void same_text(const char *a, const char *b)
{
	if (a && b)
		assert_string_equal(a, b);
	else
		assert_true(a == b);
}

static void test_C13_record_comes_back(UNUSED void **state)
{
	struct slot_record in = sample(), out;
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT, again = BYTES_INIT;

	slot_record_format(&in, "pool/a-12", &text);
	for (size_t i = 0; i + 1 < text.len; i++)
		assert_in_range(text.data[i], 0x20, 0x7e);
	assert_int_equal(text.data[text.len - 1], '\n');
	assert_ok(slot_record_parse(text.data, text.len, &out, &fail), fail);
	assert_string_equal(out.slot, "pool/a-12");
	assert_int_equal(out.phase, in.phase);
	assert_int_equal(out.kind, in.kind);
	same_text(out.lease, in.lease);
	same_text(out.key, in.key);
	same_text(out.branch, in.branch);
	same_text(out.base, in.base);
	same_text(out.command, in.command);
	assert_true(out.since == in.since && out.expires == in.expires && out.ttl == in.ttl &&
		    out.uid == in.uid);
	assert_true(out.owner.pid == in.owner.pid && out.owner.start == in.owner.start &&
		    out.owner.pid_ns == in.owner.pid_ns);
	assert_int_equal(out.before_count, 2);
	assert_memory_equal(out.before, in.before, 2 * sizeof(*out.before));
	assert_string_equal(out.owner.boot, in.owner.boot);
	assert_string_equal(out.owner.host, in.owner.host);
	slot_record_format(&out, "pool/a-12", &again);
	assert_string_equal(text.data, again.data);
	slot_record_release(&out);
	bytes_release(&text);
	bytes_release(&again);
}

static void test_record_of_nothing_comes_back(UNUSED void **state)
{
	struct slot_record in = {.phase = SLOT_FREE}, out;
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT;

	slot_record_format(&in, "default-1", &text);
	assert_ok(slot_record_parse(text.data, text.len, &out, &fail), fail);
	assert_null(out.lease);
	assert_null(out.command);
	assert_int_equal(out.owner.pid, 0);
	slot_record_release(&out);
	bytes_release(&text);
}

static void test_long_command_is_cut_between_characters(UNUSED void **state)
{
	struct slot_record in = sample(), out;
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT, command = BYTES_INIT;

	bytes_addc(&command, 'x');
	for (int i = 0; i < 1000; i++)
		bytes_adds(&command, "\xc3\xa4");
	in.command = command.data;
	slot_record_format(&in, "default-1", &text);
	assert_ok(slot_record_parse(text.data, text.len, &out, &fail), fail);
	assert_int_equal(strlen(out.command), 399);
	assert_memory_equal(out.command, command.data, 399);
	slot_record_release(&out);
	bytes_release(&text);
	bytes_release(&command);
}

static void test_F6_every_edit_is_judged(UNUSED void **state)
{
	static const struct {
		const char *text;
		int want;
	} cases[] = {
		{"interlock 1 " GOOD, 0},
		{"interlock 1 " GOOD "\n", 0},
		{"interlock 1 {\"from\":\"the future\"," TAIL
		 ",\"slot\":\"a-1\",\"phase\":\"free\",\"kind\":\"none\"}",
		 0},
		{"", FAIL_NO},
		{"initializing", FAIL_NO},
		{"interlock", FAIL_NO},
		{"interlock is being tried out here", FAIL_NO},
		{"interlock-birth 1 " GOOD, FAIL_NO},
		{"interlock 2 " GOOD, FAIL_UNSUPPORTED},
		{"interlock 10 " GOOD, FAIL_UNSUPPORTED},
		{"interlock 99999999999999999999999999 x", FAIL_UNSUPPORTED},
		{"interlock 1", FAIL_CORRUPT},
		{"interlock 1 ", FAIL_CORRUPT},
		{"interlock 1 {", FAIL_CORRUPT},
		{"interlock 1 []", FAIL_CORRUPT},
		{"interlock 1 {}", FAIL_CORRUPT},
		{"interlock 1 " GOOD " and more", FAIL_CORRUPT},
		/* a pid that wraps, a negative time, a real number, a key twice */
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"" LEASE
		 "\",\"kind\":\"command\"," TAIL ",\"owner\":{\"pid\":4294967297,\"start\":\"1\","
		 "\"pid_ns\":\"1\",\"time_ns\":\"1\",\"boot\":\"\",\"host\":\"\"}}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"free\",\"kind\":\"none\",\"since\":-1,"
		 "\"expires\":0,\"ttl\":0,\"uid\":0}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"free\",\"kind\":\"none\",\"since\":1.5,"
		 "\"expires\":0,\"ttl\":0,\"uid\":0}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"slot\":\"a-1\",\"phase\":\"free\",\"kind\":"
		 "\"none\"," TAIL "}",
		 FAIL_CORRUPT},
		/* names and ids that lead elsewhere */
		{"interlock 1 {\"slot\":\"../a-1\",\"phase\":\"free\",\"kind\":\"none\"," TAIL "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"../../../../x\","
		 "\"kind\":\"command\"," TAIL "," OWNER "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"" LEASE
		 "\",\"kind\":\"command\",\"branch\":\"refs/tags/x\"," TAIL "," OWNER "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"" LEASE
		 "\",\"kind\":\"command\",\"base\":\"HEAD\"," TAIL "," OWNER "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"" LEASE
		 "\",\"kind\":\"command\",\"key\":\"-x\"," TAIL "," OWNER "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"" LEASE
		 "\",\"kind\":\"command\",\"key\":{\"hex\":\"6\"}," TAIL "," OWNER "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"" LEASE
		 "\",\"kind\":\"command\",\"key\":{\"hex\":\"610062\"}," TAIL "," OWNER "}",
		 FAIL_CORRUPT},
		/* what cannot be: leased without a lease, or by nobody; free with a lease */
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"kind\":\"none\"," TAIL "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"" LEASE
		 "\",\"kind\":\"command\"," TAIL "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"leased\",\"lease\":\"" LEASE
		 "\",\"kind\":\"time\"," TAIL "}",
		 FAIL_CORRUPT},
		{"interlock 1 {\"slot\":\"a-1\",\"phase\":\"free\",\"lease\":\"" LEASE
		 "\",\"kind\":\"command\"," TAIL "," OWNER "}",
		 FAIL_CORRUPT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slot_record record;
		struct fail fail = FAIL_INIT;
		int got = slot_record_parse(cases[i].text, strlen(cases[i].text), &record, &fail);

		if (got != cases[i].want)
			fail_msg("%s: %d, not %d: %s", cases[i].text, got, cases[i].want,
				 fail.message);
		slot_record_release(&record);
	}
}

/* A record that was cut anywhere is broken, never another record. */
static void test_E7_torn_record_is_broken(UNUSED void **state)
{
	struct slot_record in = sample(), out;
	struct bytes text = BYTES_INIT;

	slot_record_format(&in, "default-1", &text);
	for (size_t len = strlen("interlock 1"); len + 1 < text.len; len++) {
		struct fail fail = FAIL_INIT;

		assert_int_equal(slot_record_parse(text.data, len, &out, &fail), FAIL_CORRUPT);
		slot_record_release(&out);
	}
	bytes_release(&text);
}

static void test_birth_comes_back(UNUSED void **state)
{
	struct slot_birth in = {.born = TEXT(LEASE),
				.pool = TEXT("team/a"),
				.number = 12,
				.path = TEXT("/tmp/r\xff.worktrees/a b\n-12"),
				.dev = UINT64_MAX,
				.ino = UINT64_MAX - 1,
				.boot = "x",
				.config = TEXT("[core]\n\tsparseCheckout = true\n"),
				.sparse = TEXT("/*\n!/d2/\n")};
	struct slot_birth out;
	struct fail fail = FAIL_INIT;
	struct bytes text = BYTES_INIT, again = BYTES_INIT;

	slot_birth_format(&in, &text);
	assert_ok(slot_birth_parse(text.data, text.len, &out, &fail), fail);
	assert_string_equal(out.path, in.path);
	assert_string_equal(out.config, in.config);
	assert_string_equal(out.sparse, in.sparse);
	assert_true(out.dev == in.dev && out.ino == in.ino && out.number == in.number);
	slot_birth_format(&out, &again);
	assert_string_equal(text.data, again.data);
	slot_birth_release(&out);
	bytes_release(&text);
	bytes_release(&again);
}

static void test_F5_birth_path_leads_nowhere_else(UNUSED void **state)
{
	static const char *const bad[] = {"",	   "/",	     "relative", "/a/../b", "/a/..",
					  "/a//b", "/a/./b", "/a/",	 "a/b",	    "../x"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct slot_birth in = {
			.born = TEXT(LEASE), .pool = TEXT("p"), .number = 1, .path = TEXT(bad[i])};
		struct slot_birth out;
		struct fail fail = FAIL_INIT;
		struct bytes text = BYTES_INIT;

		slot_birth_format(&in, &text);
		assert_int_equal(slot_birth_parse(text.data, text.len, &out, &fail), FAIL_CORRUPT);
		slot_birth_release(&out);
		bytes_release(&text);
	}
}

static void test_ids_never_repeat_and_grow(UNUSED void **state)
{
	char *a = slot_new_id(), *b;

	for (int i = 0; i < 1000; i++) {
		b = slot_new_id();
		assert_true(slot_id_valid(b));
		assert_string_not_equal(a, b);
		assert_true(memcmp(a, b, 12) <= 0); /* the time comes first */
		free(a);
		a = b;
	}
	free(a);
	assert_false(slot_id_valid("0193F2A4C1D7AABBCCDDEEFF00112233"));
	assert_false(slot_id_valid(LEASE "0"));
	assert_false(slot_id_valid(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_C13_record_comes_back),
		cmocka_unit_test(test_record_of_nothing_comes_back),
		cmocka_unit_test(test_long_command_is_cut_between_characters),
		cmocka_unit_test(test_F6_every_edit_is_judged),
		cmocka_unit_test(test_E7_torn_record_is_broken),
		cmocka_unit_test(test_birth_comes_back),
		cmocka_unit_test(test_F5_birth_path_leads_nowhere_else),
		cmocka_unit_test(test_ids_never_repeat_and_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
