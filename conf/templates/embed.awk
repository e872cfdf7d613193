# SPDX-License-Identifier: MIT
# Turns template files into C arrays of lines, and a table of them:   awk -f embed.awk FOLDER common/Makefile ...
BEGIN {
    print "/* Made by conf/templates/embed.awk. */"
    for (i = 2; i < ARGC; i++) {
        file = ARGV[1] "/" ARGV[i]
        printf "static const char *const lines_%d[] = {\n", i
        while ((rc = (getline line < file)) > 0) {
            gsub(/\\/, "&&", line)
            gsub(/"/, "\\\\&", line)
            gsub(/\t/, "\\t", line)
            print "    \"" line "\\n\","
        }
        if (rc < 0) {
            print "embed.awk: cannot read " file > "/dev/stderr"
            exit 1
        }
        close(file)
        print "    NULL,\n};"
    }
    print "static const struct template {\n    const char *path;\n    const char *const *lines;\n} templates[] = {"
    for (i = 2; i < ARGC; i++)
        printf "    {\"%s\", lines_%d},\n", ARGV[i], i
    print "};"
    exit 0
}
