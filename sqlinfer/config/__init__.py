"""Where settings come from: folders, the project file, the settings of jobs in layers."""
