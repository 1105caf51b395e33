int panda_not_a_plugin;
